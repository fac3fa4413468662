import threading
from contextlib import contextmanager

import pytest

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import (
    BusyError,
    CacheError,
    CapacityError,
    GenerationGoneError,
    IntegrityError,
    OriginDeniedError,
    OriginUnavailableError,
    ServerUnreachableError,
    TicketError,
)
from cache_protocol.ranges import Span
from replica_agent.arenas.host import HostMemory
from replica_agent.client import ControlClient
from replica_agent.pull import Pull
from tests.fakes.node import FakeNode
from tests.fakes.weights import chunks

BODY = chunks(3, more=77)


@contextmanager
def pulling(node, *, lanes=2, patience=20.0, limit=2**32):
    memory = HostMemory(limit)
    client = ControlClient(node.url, node.token)
    with Pull(client, node.pipeline, memory.open_arenas, lanes=lanes, patience=patience) as pull:
        yield pull


def pulled(node, **options):
    """Pull everything; return ``{model: [bytes of each file]}``."""
    with pulling(node, **options) as pull:
        pull.wait()
        now = pull.current
        return {
            name: [bytes(now.arenas[name].view(n)) for n in range(len(model.files))]
            for name, model in now.manifest.models.items()
        }


@pytest.fixture
def node():
    with FakeNode({"asr": {"config.json": b"{}", "w.dat": BODY}}) as node:
        yield node


def content(node):
    return {m: list(files.values()) for m, files in node.models.items()}


def spans(node, path="w.dat"):
    return [s.span for s in node.requests("files") if s.path.partition("?")[0].endswith(path)]


def test_every_byte_of_every_model_arrives():
    models = {"a": {"x": chunks(5, 1), "y": b"y"}, "b": {"z": chunks(1, 2, more=1), "e": b""}}
    with FakeNode(models) as node:
        assert pulled(node) == content(node)


def test_a_pipeline_without_files_is_done_at_once():
    with FakeNode({"asr": {}}) as node:
        assert pulled(node) == {"asr": []}


def test_one_lane_is_enough(node):
    assert pulled(node, lanes=1) == content(node)


def test_a_chunk_with_a_wrong_digest_is_fetched_again_past_the_nodes_cache(node):
    node.corrupt("asr", "w.dat", chunk=1, sends=1)
    assert pulled(node) == content(node)
    again = [s for s in node.requests("files") if s.headers.get("Cache-Control") == "no-cache"]
    assert [s.span for s in again] == [Span(CHUNK_SIZE, 2 * CHUNK_SIZE)]


def test_a_chunk_may_be_wrong_twice(node):
    node.corrupt("asr", "w.dat", chunk=2, sends=2)
    assert pulled(node) == content(node)


def test_a_chunk_that_is_wrong_three_times_fails_the_pull(node):
    node.corrupt("asr", "w.dat", chunk=1, sends=3)
    with pytest.raises(IntegrityError, match=r"asr/w\.dat: chunk 1"):
        pulled(node)


def test_a_lost_connection_resumes_at_the_first_missing_chunk(node):
    del node.models["asr"]["config.json"]
    node.faults.cut_after.append(2 * CHUNK_SIZE + 5)
    assert pulled(node, lanes=1) == content(node)
    assert spans(node) == [Span(0, len(BODY)), Span(2 * CHUNK_SIZE, len(BODY))]


def test_a_restarted_node_is_found_again(node):
    gate = node.gate("asr", "w.dat", chunk=2)
    with pulling(node) as pull:
        assert node.asked.wait(10)
        node.restart()
        gate.set()
        pull.wait()
        assert pull.current.verified_bytes == len(BODY) + 2


def test_tickets_that_have_run_out_are_renewed(node):
    gate = node.gate("asr", "w.dat", chunk=0)
    with pulling(node) as pull:
        assert node.asked.wait(10)
        node.expire_tickets()
        node.faults.cut_after += [0] * 4
        gate.set()
        pull.wait()
    assert len(node.manifests()) == 2


def test_a_node_that_is_busy_is_asked_again(node):
    node.faults.refuse += [("files", 429, BusyError("full")), ("digests", 503, None)]
    assert pulled(node) == content(node)


def test_a_new_generation_starts_the_pull_over(node):
    gate = node.gate("asr", "w.dat", chunk=0)
    with pulling(node) as pull:
        assert node.asked.wait(10)
        first = pull.current
        node.replace({"asr": {"config.json": b"[]", "w.dat": chunks(2, 5)}})
        node.faults.cut_after += [0] * 4
        gate.set()
        pull.wait()
        assert pull.current is not first
        assert bytes(pull.current.arenas["asr"].view(1)) == chunks(2, 5)


def test_a_generation_that_never_stays_fails_the_pull(node):
    manifest = node.manifest

    def moving():
        node.generation += 1
        made = manifest()
        node.generation += 1
        return made

    node.manifest = moving
    with pytest.raises(GenerationGoneError):
        pulled(node)


def test_an_origin_that_says_no_ends_the_pull_at_once_with_its_reason(node):
    node.faults.refuse.append(("files", 503, OriginDeniedError("the repository is gated")))
    with pytest.raises(OriginDeniedError, match="gated"):
        pulled(node)


def test_a_fill_that_fails_in_the_middle_is_reported_with_its_reason(node):
    gate = node.gate("asr", "w.dat", chunk=1)
    node.faults.fill_error = OriginDeniedError("the token was revoked")
    with pulling(node) as pull:
        assert node.asked.wait(10)
        gate.set()
        with pytest.raises(OriginDeniedError, match="revoked"):
            pull.wait()


def test_a_fill_that_failed_for_now_is_started_again_by_asking_for_the_manifest(node):
    node.faults.refuse.append(("files", 503, OriginUnavailableError("reset")))
    assert pulled(node, lanes=1) == content(node)
    assert len(node.manifests()) == 2


def test_without_progress_the_pull_gives_up_with_the_last_reason(node):
    node.faults.refuse += [("files", 503, OriginUnavailableError("the hub is down"))] * 100
    with pytest.raises(OriginUnavailableError, match="the hub is down"):
        pulled(node, patience=0.3)


def test_a_node_that_vanishes_is_given_up_after_the_patience(node):
    gate = node.gate("asr", "w.dat", chunk=0)
    with pulling(node, patience=0.3) as pull:
        assert node.asked.wait(10)
        node.stop()
        with pytest.raises(ServerUnreachableError, match="no progress"):
            pull.wait()
        node.faults.gates.clear()
        assert gate.is_set()
        node.start()


def test_a_ticket_that_no_manifest_can_renew_ends_in_its_own_error(node):
    node.faults.refuse += [("files", 403, None)] * 100
    with pytest.raises(TicketError):
        pulled(node, patience=0.3)


def test_chunks_of_a_filling_file_are_taken_as_they_come(node):
    gate = node.gate("asr", "w.dat", chunk=3)
    with pulling(node, lanes=1) as pull:
        assert node.asked.wait(10)
        assert not pull.wait(timeout=0)
        gate.set()
        assert pull.wait()


def test_no_pull_is_done_before_the_verdict(node):
    gate = node.faults.verdict_gates["asr", "w.dat"] = threading.Event()
    with pulling(node) as pull:
        transfer = pull.transfer()
        with transfer._changed:
            transfer._changed.wait_for(lambda: transfer.verified_bytes == len(BODY) + 2, 10)
        assert not pull.wait(timeout=0)
        gate.set()
        assert pull.wait()


def test_a_late_verdict_keeps_no_lane_from_pulling(node):
    gate = node.faults.verdict_gates["asr", "config.json"] = threading.Event()
    with pulling(node, lanes=1) as pull:
        transfer = pull.transfer()
        with transfer._changed:
            assert transfer._changed.wait_for(lambda: transfer.verified_bytes > len(BODY), 10)
        gate.set()
        pull.wait()


def test_a_file_that_the_node_pulled_again_is_corrected_chunk_by_chunk(node):
    node.know_sha256 = False
    other = BODY[:CHUNK_SIZE] + chunks(1, 9) + BODY[2 * CHUNK_SIZE :]

    def change():
        node.models["asr"]["w.dat"] = other

    node.models["asr"].pop("config.json")
    node.before_verdict = change
    assert pulled(node) == {"asr": [other]}
    assert spans(node)[-1] == Span(CHUNK_SIZE, 2 * CHUNK_SIZE)


def test_a_verdict_with_another_sha256_than_the_manifests_fails_the_pull(node):
    node.faults.sha256["asr", "w.dat"] = "0" * 64
    with pytest.raises(IntegrityError, match="0000"):
        pulled(node)


def test_a_verdict_that_never_agrees_with_the_table_fails_the_pull(node):
    node.know_sha256 = False
    node.models = {"asr": {"e": b""}}
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 48\r\n\r\n" + bytes(48)
    node.faults.raw += [("verdicts", answer)] * 10
    with pytest.raises(IntegrityError):
        pulled(node)


def test_more_than_the_memory_limit_is_refused_before_a_byte_is_asked_for(node):
    with pytest.raises(CapacityError, match=str(2**20)):
        pulled(node, limit=2**20)
    assert node.requests("files") == []


def test_the_lease_is_given_back_at_the_end(node):
    pulled(node)
    assert node.leases == set()


def test_every_lease_is_given_back_when_the_manifest_was_asked_for_twice(node):
    node.faults.refuse.append(("files", 503, None))
    pulled(node, lanes=1)
    assert len(node.manifests()) == 2
    assert node.leases == set()


def test_the_lease_is_renewed_while_the_pull_runs(node, monkeypatch):
    monkeypatch.setattr("replica_agent.pull.RENEWAL", 0.01)
    gate = node.gate("asr", "w.dat", chunk=0)
    renewed = threading.Event()
    renew = ControlClient.renew

    def watched(self, lease):
        known = renew(self, lease)
        renewed.set()
        return known

    monkeypatch.setattr(ControlClient, "renew", watched)
    with pulling(node) as pull:
        assert renewed.wait(10)
        gate.set()
        pull.wait()
    assert ("PUT", "lease-1") in node.lease_calls


def test_tickets_are_renewed_through_the_lease_before_they_run_out(node, monkeypatch):
    monkeypatch.setattr("replica_agent.pull.RENEWAL", 0.01)
    node.ticket_life = 1
    gate = node.gate("asr", "w.dat", chunk=0)
    with pulling(node) as pull:
        assert node.asked.wait(10)
        first = pull.current.version
        with pull._changed:
            pull._changed.wait_for(lambda: pull.current.version > first, 10)
            lease = pull.current.manifest.lease.id
        gate.set()
        pull.wait()
    assert ("GET", lease) in node.lease_calls
    assert (lease, len(node.manifests_of_pipelines())) == ("lease-1", 1)
    assert node.leases == set()


def test_tickets_of_a_lease_that_is_gone_come_with_a_new_manifest(node, monkeypatch):
    monkeypatch.setattr("replica_agent.pull.RENEWAL", 0.01)
    node.ticket_life = 1
    gate = node.gate("asr", "w.dat", chunk=0)
    with pulling(node) as pull:
        assert node.asked.wait(10)
        with node.lock:
            node.leases.discard("lease-1")
        with pull._changed:
            transfer = pull.current
            pull._changed.wait_for(lambda: transfer.manifest.lease.id != "lease-1", 10)
        gate.set()
        pull.wait()
    assert node.leases == set()


def test_a_forgotten_lease_is_replaced_by_a_new_manifest(node, monkeypatch):
    monkeypatch.setattr("replica_agent.pull.RENEWAL", 0.01)
    gate = node.gate("asr", "w.dat", chunk=0)
    with pulling(node) as pull:
        assert node.asked.wait(10)
        node.leases.discard("lease-1")
        with pull._changed:
            transfer = pull.current
            pull._changed.wait_for(lambda: transfer.manifest.lease.id != "lease-1", 10)
        gate.set()
        pull.wait()
    assert node.leases == set()


def test_closing_a_pull_that_waits_ends_it_and_its_threads(node):
    node.gate("asr", "w.dat", chunk=0)
    before = set(threading.enumerate())
    with pulling(node) as pull:
        assert node.asked.wait(10)
        pull.close()
        with pytest.raises(CacheError, match="closed"):
            pull.wait()
    left = {t for t in threading.enumerate() if "process_request" not in t.name}
    assert left <= before


def test_closing_a_pull_that_waits_for_the_manifest_ends_it(node):
    asked, gate = threading.Event(), threading.Event()
    manifest = node.manifest

    def waiting():
        asked.set()
        gate.wait(10)
        return manifest()

    node.manifest = waiting
    with pulling(node) as pull:
        assert asked.wait(10)
    gate.set()
    with pytest.raises(ServerUnreachableError):
        pull.wait()


def test_a_pull_that_is_closed_before_its_start_says_so(node):
    pull = Pull(ControlClient(node.url), "voice", HostMemory().open_arenas)
    pull.close()
    with pytest.raises(CacheError, match="before its start"):
        pull.wait()


def test_phases_are_kept_in_order(node):
    with pulling(node) as pull:
        pull.wait()
    manifest, rest = pull.phases
    assert (manifest.name, rest.name) == ("manifest", "pull")
    assert 0 <= manifest.start <= manifest.start + manifest.seconds <= rest.start


def test_a_pull_that_is_closed_while_memory_is_made_pulls_nothing(node):
    making, go_on = threading.Event(), threading.Event()
    memory = HostMemory(2**32)

    def open_arenas(manifest):
        making.set()
        assert go_on.wait(10)
        return memory.open_arenas(manifest)

    pull = Pull(ControlClient(node.url, node.token), node.pipeline, open_arenas).start()
    assert making.wait(10)
    closing = threading.Thread(target=pull.close)
    closing.start()
    assert pull._stopped.wait(10)
    with pull._changed:  # ``close`` has passed here, or waits for it: it never learns of a transfer
        assert pull.current is None
    node.gate("asr", "w.dat", chunk=0)  # what is asked for now never comes
    go_on.set()
    closing.join(10)
    assert not closing.is_alive()
    with pytest.raises(CacheError, match="closed before its end"):
        pull.wait(0)


def test_a_chunk_that_always_breaks_off_ends_the_pull_in_time(node):
    node.faults.cut_after += [CHUNK_SIZE - 1] * 100_000
    with pytest.raises(ServerUnreachableError, match="no progress"):
        pulled(node, patience=0.5)


def test_a_node_that_has_no_fresh_manifest_does_not_hold_up_who_gives_up(node):
    gate = node.gate("asr", "w.dat", chunk=0)
    silent = threading.Event()
    with pulling(node, patience=0.5) as pull:
        assert node.asked.wait(10)
        node.manifest = silent.wait  # asked, and never answered
        node.expire_tickets()
        node.faults.cut_after += [0] * 4
        gate.set()
        try:
            with pytest.raises(CacheError):
                assert pull.wait(30)
        finally:
            silent.set()
