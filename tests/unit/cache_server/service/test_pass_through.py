"""A pipeline that cannot be kept is served all the same, from its origin."""

from contextlib import closing

import pytest

from cache_protocol.digests import CHUNK_SIZE, chunk_digest, chunk_span
from cache_protocol.errors import (
    CapacityError,
    DiskError,
    GenerationGoneError,
    OriginChangedError,
    OriginDeniedError,
    UnknownPipelineError,
)
from cache_protocol.ranges import Span
from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec
from cache_server.fill.passing import PassingGeneration
from cache_server.fill.passing_file import NotKeptError
from cache_server.service import pass_through
from cache_server.service.pass_through import GRACE
from cache_server.store.generation import Generation
from tests.fakes.origin import MemoryOrigin
from tests.fakes.service import LIMIT, VOICE, chunks

OTHER = Key("default", "other")


@pytest.fixture
def full(node):
    """A node with less room than its pipeline needs."""
    with node(capacity=20 * 2**20) as bench:
        bench.reconciled()
        bench.put()
        yield bench


def readable(bench, key=VOICE):
    """Return what a replica that asks for the manifest is given to read."""
    error = bench.service.ensure(key).exception(LIMIT)
    return bench.open(key) if error is None else bench.service.pass_through(key, error)


def read(bench, generation, path="w.dat", span=None):
    file = bench.service.library.find(generation.id, "m", path)
    with closing(file.stream(span or Span(0, file.size), lambda _: None)) as pieces:
        return b"".join(bytes(piece) for piece in pieces)


def test_a_replica_of_a_pipeline_without_room_reads_it_from_its_origin(full, origin):
    generation = readable(full)
    assert isinstance(generation, PassingGeneration)
    assert read(full, generation) == origin.files["w.dat"]
    assert generation.reason.startswith("capacity: 21.0 MB needed")


def test_what_passes_through_takes_no_room_and_leaves_nothing_on_disk(full):
    read(full, readable(full))
    assert full.on_disk() == []
    assert full.service.figures.status()["used"] == 0


def test_warming_it_is_refused_all_the_same_at_once(full):
    readable(full)
    with pytest.raises(CapacityError, match=r"21\.0 MB needed"):
        full.service.warm(VOICE, refresh=False)
    assert full.cache()["last_error"]["code"] == "capacity"
    assert not full.cache()["warm"]


def test_a_warm_pipeline_beside_it_is_read_from_disk(node, origin):
    small = MemoryOrigin({"w.dat": chunks(1)})
    with node({"file:///small": small}, capacity=20 * 2**20) as bench:
        bench.put(ModelSpec("m", "file:///small"), key=OTHER)
        assert bench.warm(OTHER) is None
        bench.put()
        read(bench, readable(bench))
        assert bench.read("w.dat", bench.open(OTHER)) == small.files["w.dat"]
        assert small.sent.total() == len(small.files["w.dat"])


def test_when_room_appears_the_next_replica_starts_a_fill(node, origin):
    small = MemoryOrigin({"w.dat": chunks(1)})
    with node({"file:///small": small}, capacity=25 * 2**20) as bench:
        bench.put(ModelSpec("m", "file:///small"), key=OTHER)
        lease = bench.grant(bench.open(OTHER), OTHER)  # in use: it does not make room
        assert bench.settle(OTHER) is None
        bench.put()
        passing = readable(bench)
        assert isinstance(passing, PassingGeneration)
        bench.service.leases.give_back(lease.id)
        bench.service.removal.remove(OTHER, force=False)
        assert isinstance(readable(bench), Generation)
        assert bench.settle() is None
        assert bench.cache()["warm"]


def test_a_replica_in_the_middle_goes_on_with_the_fill_of_the_same_content(full, origin):
    passing = readable(full)
    full.service.options = None  # nobody may need it
    full.service._ledger.capacity = 2**30
    filled = readable(full)
    assert full.settle() is None
    assert filled.id == passing.id
    assert full.read("w.dat", filled) == origin.files["w.dat"]


def test_a_sick_disk_is_a_reason_as_well(full, origin):
    full.resolved()
    generation = full.service.pass_through(VOICE, DiskError("the disk is sick"))
    assert generation.reason == "disk: the disk is sick"
    assert read(full, generation, "config.json") == b"{}"


def test_a_pipeline_that_became_warm_meanwhile_is_read_from_disk(bench):
    bench.put()
    assert bench.warm() is None
    assert isinstance(bench.service.pass_through(VOICE, CapacityError("full")), Generation)


def test_a_fill_that_hangs_in_a_sick_disk_is_not_waited_for(bench, origin):
    bench.put()
    with origin.held():
        hanging = bench.open()
        assert bench.service.pass_through(VOICE, DiskError("sick")) is hanging
        hanging.fail(DiskError("sick"))
        passing = bench.service.pass_through(VOICE, DiskError("sick"))
        assert isinstance(passing, PassingGeneration)
        assert bench.service.library.find(passing.id, "m", "w.dat") is passing.file("m", "w.dat")


def test_where_nobody_knows_the_content_the_refusal_stands(full, origin):
    full.resolved()
    full.slot().content = None
    origin.deny(OriginDeniedError("gated"))
    with pytest.raises(CapacityError, match="full"):
        full.service.pass_through(VOICE, CapacityError("full"))


def test_content_that_is_not_known_yet_is_asked_for(full):
    full.resolved()
    full.slot().content = None
    full.service.contents.look_up(VOICE).exception(LIMIT)
    assert read(full, full.service.pass_through(VOICE, CapacityError("full")), "config.json")


def test_replicas_share_one_generation_while_one_reads(full):
    assert readable(full) is readable(full)


def test_it_stays_as_long_as_somebody_holds_it_and_not_longer(full):
    generation = readable(full)
    lease = full.grant(generation)
    full.clock.advance(GRACE - 20)
    full.service.leases.renew(lease.id)
    full.clock.advance(30)
    full.service._passing.end_idle(full.service.leases.held())
    assert read(full, generation, "config.json") == b"{}"
    full.service.leases.give_back(lease.id)
    full.service._passing.end_idle(full.service.leases.held())
    with pytest.raises(GenerationGoneError):
        read(full, generation, "config.json")


def test_its_origins_are_closed_with_it(full, origin):
    origin.closed = False
    generation = readable(full)
    origin.closed = False
    full.clock.advance(GRACE + 1)
    full.service._passing.end_idle(set())
    assert origin.closed
    assert full.service.figures.status()["passing_through"] == 0
    with pytest.raises(GenerationGoneError):
        generation.pause(0)


def test_a_stream_that_runs_keeps_the_origins_open(full, origin):
    generation = readable(full)
    origin.closed = False
    with closing(generation.file("m", "w.dat").stream(Span(0, 3), lambda _: None)) as pieces:
        next(pieces)
        full.service._passing.close()
        assert not origin.closed
    assert origin.closed


def test_a_removed_pipeline_stops_to_pass_through(full):
    generation = readable(full)
    full.service.removal.remove(VOICE, force=True)
    with pytest.raises(GenerationGoneError):
        read(full, generation)
    with pytest.raises(UnknownPipelineError):
        full.service.ensure(VOICE)


def test_content_that_moved_at_the_origin_is_resolved_afresh(full, origin):
    first = readable(full)
    origin.files["w.dat"] = chunks(2.5, seed=3)
    with pytest.raises(OriginChangedError):
        read(full, first)
    with pytest.raises(OriginChangedError):
        full.service.pass_through(VOICE, CapacityError("full"))
    second = readable(full)
    assert second.id != first.id
    assert read(full, second) == chunks(2.5, seed=3)


def test_two_commits_are_never_mixed(full, origin):
    first = readable(full)
    read(full, first, span=Span(0, CHUNK_SIZE))
    origin.files["w.dat"] = chunks(2.5, seed=3)
    second = readable(full)
    assert second.id != first.id
    with pytest.raises(OriginChangedError):
        read(full, first, span=Span(CHUNK_SIZE, 2 * CHUNK_SIZE))


def test_a_secret_that_is_gone_is_told_and_nothing_stays_open(full, origin, monkeypatch):
    readable(full)
    full.service._passing.close()

    def broken(spec, terms):
        raise OriginDeniedError("no such secret")

    full.service._passing._open_origin = broken
    with pytest.raises(OriginDeniedError):
        full.service.pass_through(VOICE, CapacityError("full"))
    assert full.service.figures.status()["passing_through"] == 0


def test_a_reason_is_one_short_printable_line():
    text = pass_through._one_line(CapacityError("a\nb\x00" + "c" * 5000))
    assert text.startswith("capacity: a b ")
    assert text.isprintable()
    assert len(text) < 1100


def test_the_node_confirms_no_file_that_it_did_not_keep(full):
    with pytest.raises(NotKeptError):
        readable(full).file("m", "w.dat").verdict(0)


def test_the_digest_of_a_chunk_is_known_once_it_has_passed(full, origin):
    generation, data = readable(full), origin.files["w.dat"]
    read(full, generation)
    sent = origin.sent.total()
    table = generation.file("m", "w.dat").digests(range(3), 0)
    assert table == b"".join(chunk_digest(data[slice(*chunk_span(c, len(data)))]) for c in range(3))
    assert origin.sent.total() == sent
