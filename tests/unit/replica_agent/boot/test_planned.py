"""How weights are laid out for an engine that does not exist yet."""

import hashlib
import itertools
import signal
import threading
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest

from cache_protocol.errors import CacheError, MalformedError
from cache_protocol.plans import PlannedFile, dump_plan
from cache_protocol.units import show_size
from replica_agent.arenas.cuda.driver import DriverError
from replica_agent.boot import asking
from replica_agent.boot import planned as choosing
from replica_agent.boot.options import Options
from replica_agent.boot.planned import Planned, foresee
from replica_agent.client import ControlClient, Listed
from replica_agent.plans.plain import plain
from tests.fakes import planned
from tests.fakes.boots import PATIENT, REPOSITORY, Booting, until
from tests.fakes.cuda_driver import FakeDriver
from tests.fakes.node import FakeNode

CONTENT = planned.checkpoint()
PLANS = planned.plans(CONTENT)
FILES = {"config.json": b"{}", planned.PATH: CONTENT}
COMMAND = ("vllm", "serve", "{model}", "--load-format", "warmline", "-tp", "2")


@pytest.fixture
def node():
    with FakeNode({"llm": FILES}) as node:
        yield node


def keep(node, *plans):
    for plan in plans:
        node.plans["llm", plan.key.digest] = dump_plan(plan)


def chooser(node, device="cpu", command=COMMAND, version="0.32.0", load=None):
    options = Options("voice", command, device=device)
    return Planned(options, partial(ControlClient, node.url), lambda _: version, load)


def chosen(node, **other):
    return chooser(node, **other).choose(node.manifest())["llm"]


def test_the_plans_of_all_ranks_are_followed(node):
    keep(node, *reversed(PLANS))
    choice = chosen(node)
    assert list(choice.plans) == PLANS
    assert choice.why == "laid out in host memory as vllm 0.32.0 (tp2) reads it"


def test_without_plans_weights_are_plain_files_and_the_report_says_so(node):
    choice = chosen(node)
    assert not choice.plans
    assert choice.why == "plain files: there are plans for 0 of 2 ranks (tp2), on cpu"


@pytest.mark.parametrize(
    "other", [{"version": "0.31.0"}, {"layout": "tp2 ep"}, {"checkpoint": "0" * 32}]
)
def test_plans_for_something_else_are_ignored(node, other):
    keep(node, *planned.plans(CONTENT, **other))
    assert not chosen(node).plans


def test_a_rank_without_a_plan_leaves_all_of_them_plain(node):
    keep(node, PLANS[1])
    assert "1 of 2 ranks" in chosen(node).why


def test_weights_that_the_engine_rebuilds_are_plain_files(node):
    keep(node, *planned.plans(CONTENT, quantisation="fp8"))
    choice = chosen(node)
    assert not choice.plans
    assert "rebuilds weights for fp8" in choice.why


def test_weights_that_an_engine_could_not_use_as_it_reads_them_are_plain_files(node):
    keep(node, PLANS[0], plain(PLANS[1].key))
    choice = chosen(node)
    assert not choice.plans
    assert choice.why == "plain files: rank 1 could not use what was laid out for it, on cpu"


@pytest.mark.parametrize("other", [{"version": None}, {"command": ("vllm", "serve", "{model}")}])
def test_nobody_is_asked_for_an_engine_that_is_none_of_ours(node, other):
    assert "no engine that plans are known for" in chosen(node, **other).why
    assert node.seen == []


@pytest.mark.parametrize("device", ["cuda", "cuda:7,8", "auto"])
def test_a_device_that_cannot_be_used_leaves_weights_in_host_memory(node, device):
    keep(node, *planned.plans(CONTENT, device="cuda"))
    choice = chosen(node, device=device, load=no_driver)
    assert not choice.plans
    assert "no driver is installed" in choice.why


def no_driver():
    raise DriverError("no driver is installed")


def test_too_few_devices_for_the_ranks_leave_weights_in_host_memory(node):
    keep(node, *planned.plans(CONTENT, device="cuda"))
    choice = chosen(node, device="cuda:7", load=FakeDriver)
    assert not choice.plans
    assert "rank 1" in choice.why


@pytest.mark.parametrize("device", ["cuda", "cuda:0,1", "auto"])
def test_devices_that_can_be_used_get_their_ranks(node, device):
    keep(node, *planned.plans(CONTENT, device="cuda"), *PLANS)
    choice = chosen(node, device=device, load=lambda: FakeDriver(devices=2))
    where = "cuda" if device == "auto" else device
    assert choice.why == f"laid out on {where} as vllm 0.32.0 (tp2) reads it"
    assert (len(choice.plans), choice.layer.device) == (2, where)


def test_auto_follows_the_plans_of_an_engine_on_the_cpu_where_there_are_no_others(node):
    keep(node, *PLANS)
    assert chosen(node, device="auto").plans


def test_a_node_that_is_slow_with_plans_is_not_waited_for(node, monkeypatch):
    monkeypatch.setattr(asking, "PATIENCE", 0.1)
    node.faults.plans_gate = threading.Event()
    began = time.monotonic()
    with pytest.raises(CacheError):
        chosen(node)
    assert time.monotonic() - began < 5


def test_time_that_runs_out_between_two_questions_ends_them(node, monkeypatch):
    keep(node, *PLANS)
    monkeypatch.setattr(asking, "PATIENCE", -1.0)
    with pytest.raises(CacheError, match="list and send plans"):
        chosen(node)


def test_time_to_read_plans_is_not_the_nodes(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(asking, "time", SimpleNamespace(monotonic=lambda: now[0]))
    patience = asking.Patience(0)
    for _ in range(3):
        with patience.question():
            now[0] += 0.25
        now[0] += 10.0  # ours
    with patience.question() as left:
        assert left == asking.PATIENCE - 0.75


def test_plans_that_take_too_long_to_read_are_not_asked_for(node, monkeypatch):
    keep(node, *PLANS)
    size = sum(len(dump_plan(plan)) for plan in PLANS)
    monkeypatch.setattr(asking, "MAX_READ", size - 1)
    choice = chosen(node)
    assert not choice.plans
    assert f"the plans of 2 ranks have {size} bytes" in choice.why
    assert not any(plan.key.digest in seen.path for plan in PLANS for seen in node.seen)


def test_a_plan_larger_than_the_node_lists_is_not_read(node):
    keep(node, *PLANS)
    node.faults.plans = b'{"plans": [%s]}' % b", ".join(
        b'{"key": %s, "bytes": 9}' % key_of(plan) for plan in PLANS
    )
    with pytest.raises(MalformedError, match="not 9 as the node lists"):
        chosen(node)


def test_no_device_is_opened_for_plans_that_cannot_be_followed(node):
    plans = planned.plans(CONTENT, device="cuda")
    keep(node, *plans)
    node.plans["llm", plans[1].key.digest] = dump_plan(plans[0])
    node.faults.plans = b'{"plans": [%s]}' % b", ".join(
        b'{"key": %s, "bytes": 99999}' % key_of(plan) for plan in plans
    )
    opened = []
    with pytest.raises(MalformedError):
        chosen(node, device="cuda", load=lambda: opened.append(1) or FakeDriver(devices=2))
    assert opened == []


@pytest.mark.parametrize("path", ["other.safetensors", "config.json"])
def test_a_plan_about_other_files_than_weights_of_the_model_is_refused(node, path):
    size = len(FILES.get(path, CONTENT))
    nothing = {"parameters": (), "pieces": (), "kept": ()}
    forged = [replace(p, files=(PlannedFile(path, size),), **nothing) for p in PLANS]
    keep(node, *forged)
    with pytest.raises(MalformedError, match="plan is about"):
        chosen(node)


def test_the_plan_of_another_key_is_refused(node):
    keep(node, *PLANS)
    node.plans["llm", PLANS[0].key.digest] = dump_plan(PLANS[1])
    node.faults.plans = b'{"plans": [%s]}' % b", ".join(
        b'{"key": %s, "bytes": 99999}' % key for key in (key_of(PLANS[0]), key_of(PLANS[1]))
    )
    with pytest.raises(MalformedError):
        chosen(node)


def key_of(plan):
    document = dump_plan(plan)
    return document[document.index(b"{", 1) : document.index(b"}") + 1]


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (
            PLANS,
            "laid out for 2 ranks, as vllm 0.32.0 (tp2) reads it, on cpu",
        ),
        (
            PLANS[:1],
            "plain files: there are plans for 0 of 2 ranks (tp2); there are plans for 1",
        ),
        ([], "plain files: there are plans for 0 of 2 ranks (tp2)"),
        (
            [PLANS[0], plain(PLANS[1].key)],
            "plain files: there are plans for 0 of 2 ranks (tp2); rank 1 could not use what was",
        ),
    ],
)
def test_what_a_boot_would_do_can_be_said_before(there, said, monkeypatch):
    monkeypatch.setattr(choosing, "engine_version", lambda _: "0.32.0")
    listed = [Listed(plan.key, len(dump_plan(plan))) for plan in there]
    assert foresee(listed, COMMAND).startswith(said)


# A whole boot.


@pytest.fixture
def booting(node, tmp_path):
    """Return what boots an engine whose plan is that of one rank."""
    package = tmp_path / "packages" / "vllm-0.32.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0\n")
    environment = {"PYTHONPATH": f"{REPOSITORY}:{package.parent}"}
    count = itertools.count()
    return lambda *engine: Booting(
        tmp_path / str(next(count)), node.url, handover=True, engine=engine, env=environment,
        agent=PATIENT,
    )  # fmt: skip


(ALONE,) = planned.plans(CONTENT, ranks=1)


def test_a_boot_leaves_its_plan_and_the_next_one_follows_it(node, booting, tmp_path):
    document = tmp_path / "plan.json"
    document.write_bytes(dump_plan(ALONE))
    with booting("--adopts", "--send-plan", document, "--stay") as boot:
        until(lambda: node.plans)
        boot.signal(signal.SIGTERM)
        assert boot.finished() == 0
    assert "plans for 0 of 1 ranks" in "; ".join(boot.report()["notes"])
    with booting("--adopts") as boot:
        assert boot.finished() == 0
    got = boot.event("loaded")["got"]
    expected = hashlib.sha256(planned.laid_out(CONTENT, ALONE)).hexdigest()
    assert got == {"shard": expected, "plan": ALONE.fingerprint}
    report = boot.report()
    assert report["ok"]
    assert set(report["notes"]) == {
        "llm: laid out in host memory as vllm 0.32.0 (tp1) reads it",
        f"llm: {show_size(ALONE.size)} of parameters are where they arrived, without a copy",
    }


def test_an_engine_that_refuses_boots_all_the_same_and_the_report_says_why(node, booting):
    keep(node, ALONE)
    with booting("--refuse", "it reads other rows") as boot:
        assert boot.finished() == 0
    assert boot.event("refuses")["shard"]
    got = boot.event("loaded")["got"]
    assert got == {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}
    report = boot.report()
    assert report["ok"]
    assert "rank 0 of llm: it reads other rows" in report["notes"][-1]
    assert report["verified_bytes"] == sum(map(len, FILES.values()))


def test_a_node_without_plans_of_its_own_boots_an_engine_as_ever(node, booting):
    node.faults.plans = b"[]"
    with booting("--adopts") as boot:
        assert boot.finished() == 0
    assert boot.report()["ok"]
    assert "weights come as plain files" in boot.report()["notes"][0]
