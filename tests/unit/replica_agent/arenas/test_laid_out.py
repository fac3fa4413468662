import errno
import os
from pathlib import Path

import pytest

from cache_protocol.errors import CapacityError, GenerationGoneError
from cache_protocol.manifest import File, Model
from cache_protocol.ranges import Span, cut
from replica_agent.arenas.laid_out import LaidOutArena, room_for
from tests.fakes import planned

CONTENT = planned.checkpoint()
PLANS = planned.plans(CONTENT)
CONFIG = b'{"layers": 2}'


def model():
    files = {planned.PATH: CONTENT, "config.json": CONFIG}
    return Model(
        "file:///llm",
        "1",
        tuple(File(path, len(data), None, (), "", "") for path, data in files.items()),
    )


@pytest.fixture
def arena():
    arena = LaidOutArena("laid-out-test", model(), PLANS)
    yield arena
    arena.forget()


def store(arena, pieces):
    for piece in pieces:
        arena.store(0, piece, memoryview(CONTENT)[piece.begin : piece.end])


WHOLE = Span(0, len(CONTENT))


@pytest.mark.parametrize("size", [97, 511, 4096, len(CONTENT)])
def test_each_rank_has_what_its_plan_lays_out_however_the_bytes_come(arena, size):
    store(arena, reversed(list(cut(WHOLE, size))))
    for plan in PLANS:
        assert planned.shard_of(arena, plan.key.rank) == planned.laid_out(CONTENT, plan)


def test_runs_that_lie_apart_at_the_rank_keep_their_distance():
    plan = PLANS[0]
    (piece, *_) = (p for p in plan.pieces if p.runs > 1)
    apart = plan.__class__(
        plan.key,
        plan.files,
        plan.parameters,
        (piece._replace(runs=piece.runs // 2, stride=2 * piece.run),),
        plan.kept,
    )
    arena = LaidOutArena("laid-out-test", model(), [apart])
    store(arena, cut(WHOLE, 1000))
    assert planned.shard_of(arena, 0) == planned.laid_out(CONTENT, apart)
    arena.forget()


def test_more_runs_than_a_call_takes_are_written_all_the_same(arena, monkeypatch):
    monkeypatch.setattr("replica_agent.arenas.laid_out._MOST", 7)
    store(arena, [WHOLE])
    assert planned.shard_of(arena, 1) == planned.laid_out(CONTENT, PLANS[1])


def test_a_call_that_writes_less_than_it_was_given_is_gone_on_with(arena, monkeypatch):
    everything = os.pwritev
    monkeypatch.setattr(
        os, "pwritev", lambda fd, parts, at: everything(fd, [parts[0], parts[1][:5]], at)
    )
    store(arena, [WHOLE])
    assert planned.shard_of(arena, 0) == planned.laid_out(CONTENT, PLANS[0])


def test_what_the_plans_keep_is_in_the_file(arena):
    store(arena, cut(WHOLE, 1000))
    for kept in PLANS[0].kept:
        assert arena.view(0)[kept.begin : kept.end] == CONTENT[kept.begin : kept.end]


def test_a_file_that_no_plan_names_is_whole(arena):
    arena.store(1, Span(0, len(CONFIG)), memoryview(CONFIG))
    assert bytes(arena.view(1)) == CONFIG


def test_all_of_it_takes_no_more_memory_than_was_asked_for(arena):
    store(arena, [WHOLE])
    arena.store(1, Span(0, len(CONFIG)), memoryview(CONFIG))
    taken = os.fstat(arena.fd).st_blocks * 512
    for plan in PLANS:
        lent = arena.shard(plan.key.rank)
        taken += os.fstat(lent.fd).st_blocks * 512
        os.close(lent.fd)
    pages = 4096 * (len(PLANS) + 2 * len(PLANS[0].kept))  # that are begun and not full
    assert taken <= room_for(model(), PLANS) + pages
    assert taken < 1.4 * len(CONTENT)  # the embedding is in both ranks


def test_nothing_but_its_own_rank_has_a_shard(arena):
    assert arena.shard(2) is None


def test_a_shard_says_which_plan_it_follows(arena):
    lent = arena.shard(1)
    os.close(lent.fd)
    assert lent.words == (PLANS[1].fingerprint, PLANS[1].size, "")


def test_nobody_can_write_through_what_is_lent(arena):
    lent = arena.shard(0)
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(lent.fd, b"x", 0)
    finally:
        os.close(lent.fd)


def test_what_is_confirmed_cannot_be_written_to_by_anybody(arena):
    store(arena, [WHOLE])
    arena.confirm(1)
    store(arena, [WHOLE])
    arena.confirm(0)
    with pytest.raises(CapacityError, match="Operation not permitted"):
        store(arena, [WHOLE])


def test_a_closed_arena_lends_nothing(arena):
    arena.close()
    with pytest.raises(GenerationGoneError):
        arena.shard(0)


def test_an_arena_that_is_closed_while_it_looks_lends_nothing(arena):
    class Shards(list):
        def __bool__(self):
            arena.close()
            return True

    arena._shards = Shards(arena._shards)
    with pytest.raises(GenerationGoneError):
        arena.shard(0)


def test_all_memory_goes_with_the_arena_and_what_it_lent():
    arena = LaidOutArena("laid-out-goes", model(), PLANS)
    lent = arena.shard(0)
    arena.forget()
    assert held("laid-out-goes") == ["/memfd:laid-out-goes-rank0 (deleted)"]
    os.close(lent.fd)
    assert not held("laid-out-goes")


def test_nothing_is_left_of_an_arena_that_cannot_be_made(monkeypatch):
    def refuse(name, size):
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr("replica_agent.arenas.laid_out.sealed_memory", refuse)
    with pytest.raises(OSError, match="too many"):
        LaidOutArena("laid-out-refused", model(), PLANS)
    assert not held("laid-out-refused")


def held(name):
    links = [os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    maps = Path("/proc/self/maps").read_text().splitlines()
    return [text for text in (*links, *maps) if name in text]
