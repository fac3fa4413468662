import errno
import gc
import os
import queue
import signal
import socket
import stat
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import safetensors.torch
import torch

from cache_protocol.errors import (
    CacheError,
    GenerationGoneError,
    IntegrityError,
    MalformedError,
    OriginUnavailableError,
)
from replica_agent.core.schedule import EXTENT
from replica_agent.handover import server
from replica_agent.handover.client import HandoverError, attach
from replica_agent.handover.lines import Lines
from replica_agent.handover.messages import Hello, Outcome, hello
from replica_agent.handover.server import HandoverServer
from tests.fakes.acting_agent import acting_agent
from tests.fakes.handover import host
from tests.fakes.node import FakeNode, opened

LIMIT = 30.0  # seconds; nothing here takes one
WEIGHTS = {f"layer.{n}": torch.randn(1024, 1024) for n in range(9)}  # 4 MiB each
SAVED = safetensors.torch.save(WEIGHTS)  # five chunks: more than one lane asks for at a time
MODEL = {"config.json": b"{}", "model.safetensors": SAVED}


def node(**files):
    return FakeNode({"llm": {**MODEL, **files}})


def same(given, expected=WEIGHTS):
    return given.keys() == expected.keys() and all(
        torch.equal(given[name], expected[name]) for name in expected
    )


def held(name):
    """Return how many mappings and descriptors of this process are memory of that name."""
    links = (os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink())
    return Path("/proc/self/maps").read_text().count(name), sum(name in link for link in links)


def test_every_tensor_is_what_the_node_has():
    with node() as there, host(there) as here, attach(here.path, "llm") as attached:
        given = dict(attached.tensors())
        attached.wait_confirmed()
        assert same(given)


def test_a_tensor_is_handed_out_while_the_rest_of_its_file_is_missing():
    with (
        node() as there,
        opened(there.gate("llm", "model.safetensors", EXTENT)),
        host(there) as here,
        attach(here.path, "llm") as attached,
    ):
        name, tensor = next(iter(attached.tensors()))
        assert torch.equal(tensor, WEIGHTS[name])


def test_tensors_live_on_after_the_agent_has_given_its_memory_up():
    with node() as there:
        with host(there) as here, attach(here.path, "llm") as attached:
            given = dict(attached.tensors())
            attached.wait_confirmed()
        here.memory = here.pull = None
        gc.collect()
        assert same(given)


def test_a_list_of_all_tensors_has_right_values():
    with node() as there, host(there) as here, attach(here.path, "llm") as attached:
        drained = list(attached.tensors())
        attached.wait_confirmed()
        assert same(dict(drained))


def test_a_second_pass_gives_views_of_the_same_memory():
    with node() as there, host(there) as here, attach(here.path, "llm") as attached:
        first, second = dict(attached.tensors()), dict(attached.tensors())
        assert {n: t.data_ptr() for n, t in first.items()} == {
            n: t.data_ptr() for n, t in second.items()
        }


def test_a_pass_after_the_confirmation_gives_everything_again():
    with node() as there, host(there) as here, attach(here.path, "llm") as attached:
        attached.wait_confirmed()
        assert same(dict(attached.tensors()))


def test_writing_into_a_tensor_changes_it_for_nobody_else():
    with (
        node() as there,
        host(there) as here,
        attach(here.path, "llm") as one,
        attach(here.path, "llm") as other,
    ):
        dict(one.tensors())["layer.0"].zero_()
        assert same(dict(other.tensors()))


def test_the_memory_cannot_be_written_through_the_descriptor():
    with node() as there, host(there) as here, attach(here.path, "llm") as attached:
        attached.wait_confirmed()
        arena = here.pull.transfer().arenas["llm"]
        with pytest.raises(PermissionError):
            os.pwrite(arena.fd, b"x", 0)


def test_nothing_is_left_in_the_process_after_a_load():
    with node() as there, host(there) as here:
        here.pull.wait()
        gc.collect()  # what other tests left
        before = held("/memfd:llm")
        with attach(here.path, "llm") as attached:
            given = dict(attached.tensors())
            attached.wait_confirmed()
            attached.done(Outcome.LOADED, 0.1)
        del attached, given
        assert here.server.wait_consumed(10)
        assert held("/memfd:llm") == before


def test_a_file_can_be_read_before_the_others_are_there():
    with (
        node() as there,
        opened(there.gate("llm", "model.safetensors", EXTENT)),
        host(there) as here,
        attach(here.path, "llm") as attached,
    ):
        assert attached.read("config.json") == b"{}"


def test_an_empty_file_is_read_as_nothing():
    with (
        node(**{"empty.txt": b""}) as there,
        host(there) as here,
        attach(here.path, "llm") as attached,
    ):
        assert attached.read("empty.txt") == b""


def test_a_file_that_the_model_lacks_is_not_found():
    with (
        node() as there,
        host(there) as here,
        attach(here.path, "llm") as attached,
        pytest.raises(FileNotFoundError),
    ):
        attached.read("absent.json")


def test_only_the_files_that_are_wanted_are_taken_apart():
    with (
        node(**{"onnx/model.safetensors": b"no such thing"}) as there,
        host(there) as here,
        attach(here.path, "llm") as attached,
    ):
        assert same(dict(attached.tensors(lambda path: "/" not in path)))


def test_thousands_of_files_are_all_named():
    many = {f"part-{n}/{'x' * 200}.txt": b"x" for n in range(2000)}
    with node(**many) as there, host(there) as here, attach(here.path, "llm") as attached:
        assert {f.path for f in attached.files} == {*MODEL, *many}


def test_the_wait_for_bytes_is_measured():
    with node() as there, host(there) as here, attach(here.path, "llm") as attached:
        attached.wait_confirmed()
        waited = attached.waited
        dict(attached.tensors())
        assert 0 < waited == attached.waited


# Who is told what when it ends.


def test_the_model_is_consumed_when_all_peers_are_done():
    with node() as there, host(there) as here:
        with attach(here.path, "llm", rank=0, peers=1) as attached:
            assert not here.server.wait_consumed(0)
            attached.wait_confirmed()
            attached.done(Outcome.LOADED, 1.5)
            assert here.server.wait_consumed(10)
        (consumer,) = here.server.consumers
        assert (consumer.pid, consumer.outcome) == (os.getpid(), Outcome.LOADED)
        assert (consumer.seconds, consumer.waited) == (1.5, attached.waited)


def test_the_first_of_two_ranks_does_not_end_the_hand_over():
    with node() as there, host(there) as here:
        with attach(here.path, "llm", rank=0, peers=2) as attached:
            attached.wait_confirmed()
            attached.done(Outcome.LOADED, 1.0)
        assert not here.server.wait_consumed(0.05)


def test_a_model_that_nobody_took_is_not_consumed():
    models = {"asr": dict(MODEL), "llm": dict(MODEL)}
    with FakeNode(models) as there, host(there) as here:
        with attach(here.path, "llm") as attached:
            attached.wait_confirmed()
            attached.done(Outcome.LOADED, 1.0)
        assert not here.server.wait_consumed(0.05)


def test_a_process_that_went_without_a_word_has_not_consumed():
    with node() as there, host(there) as here:
        with attach(here.path, "llm") as attached:
            attached.wait_confirmed()
        until_over(here.server)
        assert not here.server.wait_consumed(0)
        assert here.server.consumers[0].outcome is Outcome.GONE


def until_over(server):
    with server._changed:
        assert server._changed.wait_for(lambda: all(c.outcome for c in server.consumers), 10)


def test_two_models_are_consumed_side_by_side():
    models = {"asr": dict(MODEL), "llm": dict(MODEL)}
    with FakeNode(models) as there, host(there) as here:
        with attach(here.path, "asr") as asr, attach(here.path, "llm") as llm:
            for attached in (asr, llm):
                assert same(dict(attached.tensors()))
                attached.wait_confirmed()
                attached.done(Outcome.LOADED, 1.0)
        assert here.server.wait_consumed(10)


# Failures.


def test_a_failure_of_the_pull_reaches_the_consumer_with_its_code():
    with (
        node() as there,
        opened(there.gate("llm", "model.safetensors", EXTENT)),
        host(there) as here,
        attach(here.path, "llm") as attached,
    ):
        dict(zip(range(1), attached.tensors(), strict=False))
        here.pull.transfer().fail(OriginUnavailableError("the hub is down"))
        with pytest.raises(OriginUnavailableError, match="the hub is down"):
            attached.wait_confirmed()


def test_a_failure_is_said_again_to_whoever_asks_again():
    with (
        node() as there,
        opened(there.gate("llm", "model.safetensors", EXTENT)),
        host(there) as here,
        attach(here.path, "llm") as attached,
    ):
        here.pull.transfer().fail(OriginUnavailableError("the hub is down"))
        for _ in range(2):
            with pytest.raises(OriginUnavailableError, match="the hub is down"):
                attached.wait_confirmed()


def test_wrong_bytes_are_never_handed_out():
    with node() as there:
        there.corrupt("llm", "model.safetensors", chunk=1, sends=99)
        with (
            host(there) as here,
            attach(here.path, "llm") as attached,
            pytest.raises(IntegrityError),
        ):
            dict(attached.tensors())


def test_an_unknown_model_is_refused_by_name():
    with (
        node() as there,
        host(there) as here,
        pytest.raises(MalformedError, match="no model asr: llm"),
    ):
        attach(here.path, "asr")


def test_memory_that_was_given_up_is_refused():
    with node() as there, host(there) as here:
        here.pull.wait()
        here.pull.close()
        with pytest.raises(GenerationGoneError, match="given up"):
            attach(here.path, "llm")


def test_content_that_moves_during_the_load_is_void():
    with (
        node() as there,
        opened(there.gate("llm", "model.safetensors", EXTENT)),
        host(there) as here,
        attach(here.path, "llm") as attached,
    ):
        there.replace({"llm": {**MODEL, "config.json": b"{ }"}})
        transfer = here.pull.transfer()
        transfer.refresh(here.pull._client.manifest("voice"))
        with pytest.raises(GenerationGoneError, match="attach again"):
            attached.wait_confirmed()
        there.faults.gates.clear()
        with attach(here.path, "llm") as again:
            assert same(dict(again.tensors()))
            again.wait_confirmed()


def test_nobody_listening_is_an_error_of_ours(tmp_path):
    with pytest.raises(HandoverError, match="no agent answers"):
        attach(tmp_path / "handover.sock", "llm")


def test_an_agent_that_is_killed_during_the_load_is_noticed(tmp_path):
    with acting_agent(tmp_path, "layout") as (agent, path), attach(path, "llm") as attached:
        agent.send_signal(signal.SIGKILL)
        with pytest.raises(HandoverError, match="has gone"):
            attached.wait_confirmed()


def test_an_agent_that_stands_still_is_given_up(tmp_path):
    with (
        acting_agent(tmp_path, "layout") as (_, path),
        attach(path, "llm", silence=0.05) as it,
        pytest.raises(HandoverError, match="has gone"),
    ):
        it.wait_confirmed()


def test_an_agent_of_another_version_is_refused(tmp_path):
    with (
        acting_agent(tmp_path, "version") as (_, path),
        pytest.raises(MalformedError, match="version 2"),
    ):
        attach(path, "llm")


def test_confirmed_files_must_have_arrived(tmp_path):
    with (
        acting_agent(tmp_path, "early") as (_, path),
        attach(path, "llm") as attached,
        pytest.raises(MalformedError, match="never arrived"),
    ):
        attached.wait_confirmed()


def test_a_consumer_of_another_version_is_told_so():
    with node() as there, host(there) as here, raw(here.path) as lines:
        lines.write({"handover": 2, "model": "llm", "rank": 0, "peers": 1})
        assert "version 2" in lines.read()["failed"]["detail"]


@pytest.mark.parametrize("junk", [{}, {"handover": 1}, {"handover": 1, "model": "../x", "rank": 0}])
def test_a_consumer_that_makes_no_sense_is_its_own_end_only(junk):
    with node() as there, host(there) as here:
        with raw(here.path) as lines:
            lines.write(junk)
            assert lines.read()["failed"]["code"] == "malformed"
        with attach(here.path, "llm") as attached:
            attached.wait_confirmed()


@contextmanager
def raw(path):
    """Connect to an agent without the manners of a consumer."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        yield Lines(sock)


# The socket.


def test_socket_and_directory_are_for_our_user_only():
    with node() as there, host(there) as here:
        assert stat.S_IMODE(here.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(here.path.parent.stat().st_mode) == 0o700


def test_a_directory_that_others_can_enter_is_refused(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)  # whatever the umask
    with pytest.raises(PermissionError):
        HandoverServer(None, tmp_path / "open")


def test_another_user_is_turned_away(monkeypatch):
    with node() as there, host(there) as here:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        with pytest.raises(CacheError, match="not 12345"):
            attach(here.path, "llm")


def test_a_path_longer_than_a_sockets_address_works(tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.parent.mkdir()
    with (
        node() as there,
        host(there) as here,
        HandoverServer(here.pull, deep) as server,
        attach(server.path, "llm") as attached,
    ):
        attached.wait_confirmed()


def test_the_socket_goes_with_the_server():
    with node() as there, host(there) as here:
        path = here.path
        assert path.exists()
    assert not path.exists()


def test_a_socket_left_behind_by_a_killed_agent_is_replaced(tmp_path):
    directory = tmp_path / "d"
    directory.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(directory / "handover.sock"))
    with (
        node() as there,
        host(there) as here,
        HandoverServer(here.pull, directory) as server,
        attach(server.path, "llm") as attached,
    ):
        attached.wait_confirmed()


class Exhausted:
    """A listener of a process that has no descriptor left, until ``some_left`` is set."""

    def __init__(self, listener):
        self._listener = listener
        self.fileno, self.close = listener.fileno, listener.close
        self.some_left = threading.Event()
        self.refusals = queue.SimpleQueue()

    def accept(self):
        if self.some_left.is_set():
            return self._listener.accept()
        self.refusals.put(time.monotonic())
        raise OSError(errno.EMFILE, "Too many open files")


@pytest.fixture
def exhausted(monkeypatch):
    """Have the next server begin without descriptors."""

    def listen(path):
        listeners.append(Exhausted(_listen(path)))
        return listeners[-1]

    listeners, _listen = [], server._listen
    monkeypatch.setattr(server, "_listen", listen)
    return listeners


def test_a_consumer_that_finds_no_descriptor_left_is_served_when_there_is_one(exhausted):
    with node() as there, host(there) as here, raw(here.path) as lines:
        (listener,) = exhausted
        first, second = (listener.refusals.get(timeout=LIMIT) for _ in range(2))
        assert second - first >= 0.9 * server.BREATH  # it does not spin
        listener.some_left.set()
        lines.write(hello(Hello("llm")))
        message, (fd,) = lines.read_with_descriptors()
        os.close(fd)
        assert message["files"] == len(MODEL)


def test_a_server_without_descriptors_can_be_closed(exhausted):
    with node() as there, host(there) as here, raw(here.path):
        exhausted[0].refusals.get(timeout=LIMIT)


def test_a_consumer_that_finds_no_thread_left_is_sent_away(monkeypatch):
    def start(thread):
        if thread.name == server.CONSUMER:
            raise RuntimeError("can't start new thread")
        begin(thread)

    begin = threading.Thread.start
    with node() as there, host(there) as here:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            with pytest.raises(HandoverError):
                attach(here.path, "llm")
        with attach(here.path, "llm") as attached:
            attached.wait_confirmed()


def test_a_waiting_agent_shows_that_it_lives(monkeypatch):
    monkeypatch.setattr("replica_agent.handover.server.PULSE", 0.01)
    with (
        node() as there,
        opened(there.gate("llm", "model.safetensors", EXTENT)),
        host(there) as here,
        raw(here.path) as lines,
    ):
        lines.write(hello(Hello("llm")))
        assert {} in iter(lines.read, None)


def test_a_file_that_the_node_pulls_again_makes_the_first_pass_void():
    other = bytearray(SAVED)
    other[-1] ^= 1
    with FakeNode({"llm": {"model.safetensors": SAVED}}, know_sha256=False) as there:

        def pulled_again():
            there.models["llm"]["model.safetensors"] = bytes(other)

        there.before_verdict = pulled_again
        with host(there) as here, attach(here.path, "llm") as attached:
            first = dict(attached.tensors())
            attached.wait_confirmed()
            assert attached.rewritten
            assert first.keys() == WEIGHTS.keys()
            assert same(dict(attached.tensors()), safetensors.torch.load(bytes(other)))
