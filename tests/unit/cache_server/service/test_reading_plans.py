"""Plans of how engines read a pipeline: kept with its bytes, and no longer than those."""

import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cache_protocol.errors import (
    DiskError,
    GenerationGoneError,
    MalformedError,
    OriginDeniedError,
    PlanRefusedError,
    UnknownPipelineError,
    UnknownPlanError,
)
from cache_protocol.manifest import Lease
from cache_protocol.plans import Plan, PlannedFile, checkpoint_digest, dump_plan, parse_plan
from cache_protocol.tickets import Key as TicketKey
from cache_protocol.tickets import Keys
from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec
from cache_server.http.manifests import Signer, manifest_of
from cache_server.service import reading_plans
from cache_server.service.disk_watch import SickDiskError
from cache_server.store import durable
from tests.fakes.origin import MemoryOrigin
from tests.fakes.plans import plan
from tests.fakes.service import VOICE, Bench
from tests.fakes.weights import safetensors

WEIGHTS = "w.safetensors"
OTHER = Key("default", "other")
FOREIGN = Key("other", "voice")


@pytest.fixture
def origin():
    return MemoryOrigin({"config.json": b"{}", WEIGHTS: safetensors(0, more=2**20)})


@pytest.fixture
def warm(bench):
    bench.put()
    assert bench.warm() is None
    return bench


def checkpoint(generation) -> str:
    """Return what an agent makes of the manifest that it is given now."""
    lease = Lease("lease", datetime(2030, 1, 1, tzinfo=UTC))
    signer = Signer(Keys("node", (TicketKey("k", b"s"),)), "http://node", 2**31)
    manifest = manifest_of(generation, lease, signer)
    return checkpoint_digest(manifest.models["m"], manifest.generation)


def traced(bench: Bench, **key) -> Plan:
    """Return a plan as a replica that reads the pipeline now would leave it."""
    generation = bench.open()
    size = generation.file("m", WEIGHTS).size
    return plan(files={WEIGHTS: size}, **{"checkpoint": checkpoint(generation), **key})


def put(bench: Bench, what: Plan, key: Key = VOICE, model: str = "m") -> None:
    bench.service.plans.put(key, model, what.key.digest, dump_plan(what))


def keys(bench: Bench) -> list:
    return [record.key for record in bench.service.plans.all(VOICE, "m")]


def test_what_one_replica_leaves_the_next_one_finds(warm):
    left = traced(warm)
    put(warm, left)
    (record,) = warm.service.plans.all(VOICE, "m")
    assert (record.key, record.fingerprint) == (left.key, left.fingerprint)
    assert record.stored == warm.clock.now()
    assert parse_plan(warm.service.plans.read(VOICE, "m", left.key.digest)) == left


def test_a_plan_is_kept_in_one_form_however_it_was_written(warm):
    left = traced(warm)
    spaced = dump_plan(left).replace(b",", b" , ")
    warm.service.plans.put(VOICE, "m", left.key.digest, spaced)
    assert warm.service.plans.read(VOICE, "m", left.key.digest) == dump_plan(left)


def test_plans_outlive_a_restart(node, origin):
    with node() as bench:
        bench.reconciled()
        bench.put()
        assert bench.warm() is None
        left = traced(bench)
        put(bench, left)
    with node() as bench:
        bench.reconciled()
        assert keys(bench) == [left.key]


def test_plans_go_with_what_is_evicted(warm):
    put(warm, traced(warm))
    warm.service.removal.evict(VOICE, force=True)
    assert keys(warm) == []
    assert warm.on_disk() == []


def test_of_a_new_generation_there_is_no_plan_yet(warm, origin):
    put(warm, traced(warm))
    origin.files[WEIGHTS] = safetensors(0, seed=3, more=2**20)
    assert warm.warm(refresh=True) is None
    assert keys(warm) == []


def test_of_a_cold_pipeline_there_are_none_and_to_ask_starts_nothing(bench, origin):
    bench.put()
    bench.resolved()
    assert keys(bench) == []
    assert bench.cache()["state"] == "cold"
    assert origin.requests == []


def test_a_plan_of_weights_that_are_not_kept_is_refused_in_plain_words(bench):
    bench.put()
    bench.resolved()
    with pytest.raises(PlanRefusedError, match="nothing is kept of voice"):
        put(bench, plan())


def test_a_plan_of_weights_that_pass_through_is_refused(node):
    with node(capacity=2**20) as full:
        full.reconciled()
        full.put()
        error = full.service.ensure(VOICE).exception(30)
        passing = full.service.pass_through(VOICE, error)
        with pytest.raises(PlanRefusedError, match="pass through"):
            put(full, plan(checkpoint=checkpoint(passing)))
        assert keys(full) == []


@pytest.mark.parametrize("key", [OTHER, FOREIGN], ids=["unknown", "another tenant's"])
def test_of_a_pipeline_that_is_not_there_nothing_is_told(warm, key):
    left = traced(warm)
    put(warm, left)
    for call in (
        lambda: warm.service.plans.all(key, "m"),
        lambda: warm.service.plans.read(key, "m", left.key.digest),
        lambda: put(warm, left, key),
    ):
        with pytest.raises(UnknownPipelineError):
            call()


@pytest.mark.parametrize("model", ["other", "..", "m/../m"])
def test_a_model_that_is_not_there_has_no_plans(warm, model):
    left = traced(warm)
    for call in (
        lambda: warm.service.plans.all(VOICE, model),
        lambda: warm.service.plans.read(VOICE, model, left.key.digest),
        lambda: put(warm, left, model=model),
    ):
        with pytest.raises(UnknownPlanError):
            call()


@pytest.mark.parametrize("digest", ["", "..", "../../content.json", "0" * 32, "A" * 32])
def test_what_is_no_digest_of_a_plan_leads_to_nothing(warm, digest):
    put(warm, traced(warm))
    with pytest.raises(UnknownPlanError):
        warm.service.plans.read(VOICE, "m", digest)


def test_a_plan_under_the_digest_of_another_key_is_malformed(warm):
    left = traced(warm)
    with pytest.raises(MalformedError, match=left.key.digest):
        warm.service.plans.put(VOICE, "m", "0" * 32, dump_plan(left))


@pytest.mark.parametrize("document", [b"", b"{}", b"[]", b"\xff", b'{"plan": 2}'])
def test_what_is_no_plan_is_malformed_and_leaves_nothing(warm, document):
    with pytest.raises(MalformedError):
        warm.service.plans.put(VOICE, "m", "0" * 32, document)
    assert keys(warm) == []


@pytest.mark.parametrize("files", [(("w.other", 1),), ((WEIGHTS, 1),)], ids=["name", "size"])
def test_a_plan_of_other_files_is_malformed(warm, files):
    left = traced(warm)
    there = tuple(PlannedFile(*each) for each in files)
    other = replace(left, files=there, parameters=(), pieces=(), kept=())
    with pytest.raises(MalformedError, match="this model has not"):
        put(warm, other)


def test_a_plan_of_another_checkpoint_is_refused_with_both_names(warm):
    other = traced(warm, checkpoint="f" * 32)
    with pytest.raises(PlanRefusedError, match=f"{'f' * 32}.*{checkpoint(warm.open())}"):
        put(warm, other)


def test_a_plan_from_before_the_sha256s_were_known_is_kept_by_the_name_of_now(node):
    silent = MemoryOrigin(
        {"config.json": b"{}", WEIGHTS: safetensors(0, more=2**20)}, digests=False
    )
    with node({"file:///m": silent}) as bench:
        bench.reconciled()
        bench.put(ModelSpec("m", "file:///m"))
        with silent.held():
            early = traced(bench)
        assert bench.settle() is None
        put(bench, early)
        now = checkpoint(bench.open())
        assert now != early.key.checkpoint
        assert keys(bench) == [replace(early.key, checkpoint=now)]


def test_while_a_pipeline_is_withheld_so_are_its_plans(node, origin):
    origin.restricted = True
    with node() as bench:
        bench.reconciled()
        bench.put()
        assert bench.warm() is None
        left = traced(bench)
        put(bench, left)
        origin.deny(OriginDeniedError("you are not in the list"))
        bench.clock.advance(2 * 3600)
        bench.service.access.round()
        with pytest.raises(OriginDeniedError):
            keys(bench)
        with pytest.raises(OriginDeniedError):
            bench.service.plans.read(VOICE, "m", left.key.digest)


def test_to_a_sick_disk_no_plan_is_written(warm, monkeypatch):
    left = traced(warm)
    monkeypatch.setattr(type(warm.service._disk), "sickness", "it fails")
    with pytest.raises(SickDiskError):
        put(warm, left)


def test_a_sick_disk_is_asked_for_no_plan(warm, monkeypatch):
    left = traced(warm)
    put(warm, left)
    monkeypatch.setattr(type(warm.service._disk), "sickness", "it hangs")
    monkeypatch.setattr(warm.service.plans, "_kept", None)  # to find out may take the disk as well
    for call in (
        lambda: warm.service.plans.all(VOICE, "m"),
        lambda: warm.service.plans.read(VOICE, "m", left.key.digest),
    ):
        with pytest.raises(SickDiskError):
            call()


def test_one_plan_is_parsed_at_a_time(warm, monkeypatch):
    left, several = traced(warm), threading.Barrier(2)

    def parse(document):
        with pytest.raises(threading.BrokenBarrierError):
            several.wait(0.1)  # for the other one, which must not come
        return parse_plan(document)

    monkeypatch.setattr(reading_plans, "parse_plan", parse)
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(put, warm, left) for _ in range(2)]:
            done.result()


def test_of_a_device_that_fails_under_a_plan_the_watch_over_the_disk_is_told(warm, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    left, told = traced(warm), []
    monkeypatch.setattr(durable.os, "fsync", fail)
    monkeypatch.setattr(warm.service._disk, "noticed", told.append)
    with pytest.raises(DiskError, match="Input/output error"):
        put(warm, left)
    assert [type(error) for error in told] == [DiskError]
    assert keys(warm) == []


def test_a_plan_for_what_leaves_in_this_moment_is_told_that_it_is_gone(warm, monkeypatch):
    left, generation = traced(warm), warm.slot().current
    monkeypatch.setattr(warm.service.plans, "_kept", lambda _: generation)
    warm.service.removal.evict(VOICE, force=True)
    with pytest.raises(GenerationGoneError):
        put(warm, left)
    assert not generation.directory.exists()


def test_plans_are_in_the_way_of_nothing_that_is_booked(warm):
    before = warm.service.figures.status()["used"]
    put(warm, traced(warm))
    assert warm.service.figures.status()["used"] == before
    freed = warm.service.removal.evict(VOICE, force=True)
    assert freed == before
