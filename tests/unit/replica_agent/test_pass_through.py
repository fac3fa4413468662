"""A node that keeps nothing has no verdict: the agent holds the files against the origin's word."""

import hashlib
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cache_protocol.digests import git_blob_hash
from cache_protocol.errors import IntegrityError
from replica_agent.arenas.directory import Destination
from replica_agent.arenas.host import HostMemory
from replica_agent.arenas.links import LinkedMemory
from replica_agent.client import ControlClient
from replica_agent.pull import Pull
from replica_agent.report import to_json, to_table
from replica_agent.transfer import Transfer
from tests.fakes.node import FakeNode
from tests.fakes.weights import chunks

BODY = chunks(3, more=77)
WRONG = BODY[:-1] + bytes([BODY[-1] ^ 1])
REASON = "capacity: 25.2 MB needed, 0 B free"


class PassingNode(FakeNode):
    """Says that its files pass through; ``git`` names those that come with a blob id."""

    source, git = "pass-through", ()

    def manifest(self):
        made = super().manifest()
        models = {
            name: replace(model, files=tuple(self._with_git(name, f) for f in model.files))
            for name, model in made.models.items()
        }
        reason = None if self.source == "cache" else REASON
        return replace(made, models=models, source=self.source, reason=reason)

    def _with_git(self, model, file):
        if file.path not in self.git:
            return file
        content = self.models[model][file.path]
        blob = git_blob_hash(len(content))
        blob.update(content)
        return replace(file, sha256=None, git_sha1=blob.hexdigest())


@pytest.fixture
def node():
    with PassingNode({"asr": {"config.json": b"{}", "w.dat": BODY}}) as node:
        yield node


@contextmanager
def pulling(node, open_arenas=None, **options):
    client = ControlClient(node.url, node.token)
    memory = HostMemory(2**32)
    with Pull(client, node.pipeline, open_arenas or memory.open_arenas, **options) as pull:
        pull.memory = memory
        yield pull


def promise(node, path, content):
    """Have the manifest promise the sha256 of ``content`` for ``path``."""
    node.faults.sha256["asr", path] = hashlib.sha256(content).hexdigest()


def test_files_that_are_what_the_origin_promised_are_confirmed_without_a_verdict(node):
    with pulling(node) as pull:
        pull.wait()
        arena = pull.current.arenas["asr"]
        assert [bytes(arena.view(n)) for n in range(2)] == [b"{}", BODY]
    assert node.requests("verdicts") == []


def test_a_file_that_is_not_what_the_origin_promised_is_pulled_again(node, monkeypatch):
    promise(node, "w.dat", BODY)
    node.models["asr"]["w.dat"] = WRONG
    distrust = Transfer.distrust

    def origin_recovers(transfer, index, wrong):
        node.models["asr"]["w.dat"] = BODY
        distrust(transfer, index, wrong)

    monkeypatch.setattr(Transfer, "distrust", origin_recovers)
    with pulling(node) as pull:
        pull.wait()
        assert bytes(pull.current.arenas["asr"].view(1)) == BODY
        assert pull.current.models["asr"].rewritten


def test_a_file_that_is_wrong_twice_fails_the_pull_with_both_digests(node):
    promise(node, "w.dat", BODY)
    node.models["asr"]["w.dat"] = WRONG
    wanted, found = (hashlib.sha256(data).hexdigest() for data in (BODY, WRONG))
    with pulling(node) as pull, pytest.raises(IntegrityError, match=f"{wanted}.*{found}"):
        pull.wait()


def test_an_empty_file_with_a_digest_of_something_fails_the_pull(node):
    promise(node, "config.json", b"{}")
    node.models["asr"]["config.json"] = b""
    with pulling(node) as pull, pytest.raises(IntegrityError, match=r"config\.json"):
        pull.wait()


def test_a_git_blob_id_is_checked_where_the_origin_has_no_sha256(node):
    node.git = {"config.json"}
    with pulling(node) as pull:
        pull.wait()


def test_a_file_with_another_git_blob_id_fails_the_pull(node, monkeypatch):
    node.git = {"config.json"}
    with_git = node._with_git
    node._with_git = lambda model, file: (
        replace(with_git(model, file), git_sha1="f" * 40) if file.size == 2 else file
    )
    with pulling(node) as pull, pytest.raises(IntegrityError, match="promised ffff"):
        pull.wait()


def test_a_file_of_which_nothing_is_promised_has_the_digests_of_its_chunks(node):
    node.know_sha256 = False
    node.corrupt("asr", "w.dat", chunk=1, sends=1)
    with pulling(node) as pull:
        pull.wait()
        assert bytes(pull.current.arenas["asr"].view(1)) == BODY


def test_files_on_disk_get_their_name_once_they_are_what_was_promised(node, tmp_path):
    destination = Destination(tmp_path / "to")
    try:
        with pulling(node, destination.open_arenas) as pull:
            pull.wait()
    finally:
        destination.close()
    assert (tmp_path / "to" / "asr" / "w.dat").read_bytes() == BODY


def test_a_file_on_disk_that_is_wrong_never_gets_its_name(node, tmp_path):
    promise(node, "w.dat", BODY)
    node.models["asr"]["w.dat"] = WRONG
    destination = Destination(tmp_path / "to")
    try:
        with pulling(node, destination.open_arenas) as pull, pytest.raises(IntegrityError):
            pull.wait()
    finally:
        destination.close()
    assert not (tmp_path / "to" / "asr" / "w.dat").exists()


def test_files_that_are_linked_to_are_checked_as_well(node):
    promise(node, "w.dat", BODY)
    node.models["asr"]["w.dat"] = WRONG
    with pulling(node, LinkedMemory(2**32).open_arenas) as pull, pytest.raises(IntegrityError):
        pull.wait()


def test_the_report_says_that_the_bytes_passed_through_and_why(node):
    with pulling(node) as pull:
        pull.wait()
        boot = pull.boot("cpu", datetime.now(UTC))
    fields = to_json(boot)
    assert (fields["source"], fields["reason"], fields["ok"]) == ("pass-through", REASON, True)
    assert "source: pass-through" in to_table(boot)


def test_the_report_of_one_that_failed_says_why_it_failed(node):
    promise(node, "config.json", b"[]")
    with pulling(node) as pull:
        with pytest.raises(IntegrityError):
            pull.wait()
        fields = to_json(pull.boot("cpu", datetime.now(UTC)))
    assert (fields["source"], fields["ok"]) == ("pass-through", False)
    assert "config.json" in fields["reason"]


def test_a_replica_goes_on_when_the_node_begins_to_keep_the_pipeline(node):
    gate = node.gate("asr", "w.dat", chunk=0)
    with pulling(node) as pull:
        assert node.asked.wait(10)
        node.source = "cache"
        node.expire_tickets()
        node.faults.cut_after += [0] * 4
        gate.set()
        pull.wait()
        assert not pull.current.passes_through
    assert node.requests("verdicts")


def test_a_replica_goes_on_when_the_node_can_keep_it_no_longer(node):
    node.source = "cache"
    gate = node.gate("asr", "w.dat", chunk=0)
    with pulling(node) as pull:
        assert node.asked.wait(10)
        node.source = "pass-through"
        node.expire_tickets()
        node.faults.cut_after += [0] * 4
        gate.set()
        pull.wait()
        assert pull.current.passes_through


def test_a_file_whose_check_is_cut_short_is_not_confirmed(node):
    confirmed = []

    def open_arenas(manifest):
        arenas = pull.memory.open_arenas(manifest)
        arena = arenas["asr"]
        read = arena.read
        arena.confirm = confirmed.append

        def ending(file, span):
            if file == 1:
                pull.current.fail(IntegrityError("it ended meanwhile"))
            return read(file, span)

        arena.read = ending
        return arenas

    with pulling(node, open_arenas) as pull, pytest.raises(IntegrityError, match="meanwhile"):
        pull.wait()
    assert 1 not in confirmed
