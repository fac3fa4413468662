import hashlib
import os
import signal
import sys
from pathlib import Path

import pytest

from cache_protocol.errors import CapacityError, UnknownPipelineError
from tests.fakes.boots import Booting, free_port, until
from tests.fakes.node import FakeNode, opened
from tests.fakes.weights import safetensors

SMALL = {"config.json": b'{"a": 1}', "tokenizer/vocab.txt": b"words"}
WEIGHTS = {"model.safetensors": safetensors(3, more=17)}
FILES = {**SMALL, **WEIGHTS}


def sha256(files):
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}


@pytest.fixture
def node():
    with FakeNode({"llm": FILES}) as node:
        yield node


def memory_of(pid):
    """What of a model the process has mapped or open."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    fds = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()]
    return [line for line in (*maps.splitlines(), *fds) if "memfd:" in line]


# From memory.


def test_the_engine_starts_with_the_small_files_while_weights_are_under_way(node, tmp_path):
    with (
        opened(node.gate("llm", "model.safetensors", 1)) as gate,
        Booting(tmp_path, node.url, handover=True) as boot,
    ):
        assert boot.event("start")["found"] == sorted(SMALL)
        boot.event("attached")
        gate.set()
        assert boot.event("loaded")["got"] == sha256(FILES)
        assert boot.finished() == 0


def test_weights_are_handed_over_and_the_report_says_how(node, tmp_path):
    with Booting(tmp_path, node.url, handover=True) as boot:
        assert boot.finished() == 0
    report = boot.report()
    assert (report["ok"], report["source"], report["bytes"]) == (
        True,
        "cache",
        sum(map(len, FILES.values())),
    )
    names = {p["name"] for p in report["phases"]}
    assert names >= {"agent-start", "manifest", "pull", "engine-import", "weight-wait", "load"}
    assert node.boots == [report]
    assert "engine-import" in boot.words()


def test_memory_goes_as_soon_as_the_engine_has_said_that_it_is_done(node, tmp_path):
    with Booting(tmp_path, node.url, handover=True, engine=["--stay"]) as boot:
        boot.event("loaded")
        until(lambda: not memory_of(boot.process.pid))


def test_keep_holds_the_memory_until_the_command_ends(node, tmp_path):
    with Booting(tmp_path, node.url, "--keep", handover=True, engine=["--stay"]) as boot:
        assert boot.report()["ok"]
        assert memory_of(boot.process.pid)


def test_an_engine_that_restarts_is_served_again_from_what_was_kept(node, tmp_path):
    engine = f"{sys.executable} -m tests.fakes.engine --say {tmp_path}/said"
    script = (
        f"{engine} --load-format warmline {{model}} && {engine} --load-format warmline {{model}}"
    )
    with Booting(tmp_path, node.url, "--keep", command=["sh", "-c", script]) as boot:
        assert boot.finished() == 0
    loads = [e for e in boot.events() if e["event"] == "loaded"]
    assert [e["way"] for e in loads] == ["handover", "handover"]
    assert len(node.manifests()) == 1


def test_each_engine_gets_its_model_by_name(tmp_path):
    models = {"asr": {"a.safetensors": safetensors(1)}, "tts": {"b.safetensors": safetensors(1, 1)}}
    with (
        FakeNode(models) as node,
        Booting(tmp_path, node.url, handover=True, models=("{tts}", "{asr}")) as boot,
    ):
        assert boot.finished() == 0
    got = {e["model"]: e["got"] for e in boot.events() if e["event"] == "loaded"}
    assert got == {name: sha256(files) for name, files in models.items()}


def test_the_only_model_must_be_one_to_be_called_model(tmp_path):
    with FakeNode({"asr": SMALL, "tts": SMALL}) as node, Booting(tmp_path, node.url) as boot:
        assert boot.finished() != 0
    assert "write {asr}, {tts} in COMMAND" in boot.words()


def test_a_model_beyond_the_memory_limit_is_a_file_on_disk(node, tmp_path):
    env = {"REPLICA_AGENT_MEMORY_LIMIT": "1MB"}
    with Booting(tmp_path, node.url, handover=True, env=env) as boot:
        assert boot.finished() == 0
    assert boot.event("loaded")["got"] == sha256(FILES)
    assert "memory does not suffice" in "; ".join(boot.report()["notes"])


# As files.


@pytest.mark.parametrize(
    ("flags", "env", "kind"),
    [
        ([], {}, "tmpfs"),
        (["--no-tmpfs"], {}, "memfd"),
        ([], {"REPLICA_AGENT_MEMORY_LIMIT": "1MB"}, "disk"),
    ],
)
def test_an_engine_that_reads_files_gets_whole_ones(node, tmp_path, flags, env, kind):
    with Booting(tmp_path, node.url, *flags, env=env) as boot:
        assert boot.finished() == 0
    assert boot.event("start")["found"] == sorted(FILES)
    assert boot.event("loaded")["got"] == sha256(FILES)
    assert boot.report()["notes"] == [f"weights are files: {kind}"]


def test_with_files_the_command_starts_only_when_they_are_whole(node, tmp_path):
    with (
        opened(node.gate("llm", "model.safetensors", 2)) as gate,
        Booting(tmp_path, node.url) as boot,
    ):
        until(node.asked.is_set)
        assert not boot.events()
        gate.set()
        assert boot.finished() == 0
    assert boot.report()["weight_wait"] > 0


def test_files_can_be_asked_for_where_a_hand_over_would_do(node, tmp_path):
    with Booting(tmp_path, node.url, "--files", engine=["--load-format", "warmline"]) as boot:
        assert boot.finished() == 0
    assert boot.event("loaded")["way"] == "files"


@pytest.mark.parametrize("flags", [[], ["--no-tmpfs"]])
def test_weights_go_when_the_engine_is_ready_and_small_files_stay(node, tmp_path, flags):
    port = free_port()
    flags = [*flags, "--health", f"http://127.0.0.1:{port}/health"]
    with Booting(tmp_path, node.url, *flags, engine=["--port", port]) as boot:
        model = Path(boot.event("loaded")["model"])
        assert boot.report()["ok"]
        until(lambda: not (model / "model.safetensors").exists())
        assert (model / "config.json").read_bytes() == SMALL["config.json"]
        assert not any("safetensors" in line for line in memory_of(boot.process.pid))


# Readiness.


def test_a_boot_is_over_when_the_engine_says_that_it_is_ready_and_has_answered(node, tmp_path):
    port = free_port()
    flags = ["--warm-up", "--health", f"http://127.0.0.1:{port}/health"]
    with Booting(tmp_path, node.url, *flags, handover=True, engine=["--port", port]) as boot:
        report = boot.report()
    phases = {p["name"]: p for p in report["phases"]}
    assert report["ok"]
    assert phases["first-token"]["seconds"] <= phases["warm-up"]["seconds"]
    assert report["time_to_ready"] >= phases["warm-up"]["start"]


def test_an_engine_that_ends_before_it_is_ready_is_no_success(node, tmp_path):
    with Booting(
        tmp_path, node.url, "--health", f"http://127.0.0.1:{free_port()}", engine=["--exit", 9]
    ) as boot:
        assert boot.finished() == 9
    report = boot.report()
    assert (report["ok"], report["reason"]) == (
        False,
        "the engine ended with code 9 before it was ready",
    )


# The command as a child.


def test_the_exit_code_is_the_engines_own(node, tmp_path):
    with Booting(tmp_path, node.url, engine=["--exit", 42]) as boot:
        assert boot.finished() == 42


def test_an_engine_that_a_signal_ended_is_reported_as_shells_do(node, tmp_path):
    with Booting(tmp_path, node.url, engine=["--stay"]) as boot:
        pid = boot.event("start")["pid"]
        boot.event("loaded")
        os.kill(pid, signal.SIGKILL)
        assert boot.finished() == 128 + signal.SIGKILL


def test_signals_are_passed_on_and_the_engine_ends_in_its_own_way(node, tmp_path):
    with Booting(tmp_path, node.url, engine=["--stay", "--exit", 3]) as boot:
        boot.event("loaded")
        boot.signal(signal.SIGUSR1)
        boot.event("sigusr1")
        boot.signal(signal.SIGTERM)
        assert boot.finished() == 3
    assert boot.event("sigterm")


def test_a_signal_before_the_engine_starts_ends_the_boot(node, tmp_path):
    with opened(node.gate("llm", "model.safetensors", 0)), Booting(tmp_path, node.url) as boot:
        until(lambda: node.requests("files"))
        boot.signal(signal.SIGTERM)
        assert boot.finished() == 128 + signal.SIGTERM
    assert not boot.events()
    assert not boot.left()


@pytest.mark.parametrize("handover", [True, False])
def test_nothing_is_left_behind(node, tmp_path, handover):
    shm = Path("/dev/shm", f"warmline-{os.getuid()}")  # noqa: S108 - where it goes
    with Booting(tmp_path, node.url, handover=handover, pipeline="voice") as boot:
        assert boot.finished() == 0
    assert not boot.left()
    assert not (shm / "voice").exists()


def test_what_the_engine_started_and_left_ends_with_it(node, tmp_path):
    script = "sleep 300 & echo $! > {}; exit 4".format(tmp_path / "pid")
    with Booting(tmp_path, node.url, command=["sh", "-c", script]) as boot:
        assert boot.finished() == 4
    assert not os.path.exists(f"/proc/{(tmp_path / 'pid').read_text().strip()}")


@pytest.mark.parametrize(("name", "code"), [("no-such-program", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_be_started_has_the_shells_code(node, tmp_path, name, code):
    with Booting(tmp_path, node.url, command=[name]) as boot:
        assert boot.finished() == code
    assert not boot.report()["ok"]


def test_a_token_is_nowhere_but_in_the_environment(tmp_path):
    with (
        FakeNode({"llm": FILES}, token="SECRET") as node,
        Booting(tmp_path, node.url, handover=True, engine=["--stay"], token="SECRET") as boot,
    ):
        boot.report()
        for pid in (boot.process.pid, boot.event("start")["pid"]):
            assert b"SECRET" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        files = [p for p in tmp_path.rglob("*") if p.is_file()]
        assert files
        assert not [p for p in files if b"SECRET" in p.read_bytes()]


# Two at once.


def test_a_second_boot_of_a_pipeline_has_its_own_directory_and_says_so(node, tmp_path):
    with Booting(tmp_path, node.url, handover=True, engine=["--stay"]) as first:
        first.report()
        env = {"REPLICA_AGENT_STATE_DIR": str(tmp_path / "state")}
        with Booting(tmp_path / "2", node.url, handover=True, env=env) as second:
            assert "compile caches will miss" in "; ".join(second.report()["notes"])
            assert first.event("start")["model"] != second.event("start")["model"]


def test_what_a_killed_agent_left_is_removed_by_the_next(node, tmp_path):
    with Booting(tmp_path, node.url, "--keep", handover=True, engine=["--stay"]) as boot:
        boot.report()
        boot.process.kill()
        boot.finished()
        assert boot.left()
    with Booting(tmp_path, node.url, handover=True) as boot:
        assert boot.finished() == 0
    assert not boot.left()


# Without the cache.


@pytest.fixture
def origin(tmp_path):
    directory = tmp_path / "origin"
    for path, data in FILES.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    return directory


def refuse(node):
    node.faults.manifest_error = (507, CapacityError("no room"))


def unknown(node):
    node.faults.manifest_error = (404, UnknownPipelineError("no such pipeline"))


def corrupt(node):
    node.corrupt("llm", "model.safetensors", 1, sends=99)


def vanish(node):
    node.stop()


@pytest.mark.parametrize("fault", [refuse, unknown, corrupt])
def test_files_come_from_the_origin_when_the_cache_cannot_serve(node, origin, tmp_path, fault):
    fault(node)
    flag = f"--origin=llm=file://{origin}"
    with Booting(tmp_path / "boot", node.url, flag) as boot:
        assert boot.finished() == 0
    assert boot.event("loaded")["got"] == sha256(FILES)
    report = boot.report()
    assert (report["ok"], report["source"], report["verified_bytes"]) == (True, "origin", 0)
    assert report["reason"]


def test_with_a_dead_node_an_engine_of_ours_gets_its_own_loader(origin, tmp_path):
    dead = f"http://127.0.0.1:{free_port()}"
    flag = f"--origin=llm=file://{origin}"
    with Booting(tmp_path / "boot", dead, flag, handover=True) as boot:
        assert boot.finished() == 0
    loaded = boot.event("loaded")
    assert (loaded["way"], loaded["got"]) == ("files", sha256(FILES))
    assert boot.report()["source"] == "origin"


def test_the_origin_of_the_last_boot_is_remembered(node, origin, tmp_path):
    with Booting(tmp_path / "boot", node.url) as boot:
        assert boot.finished() == 0
    remembered = tmp_path / "boot/state/voice.json"
    text = remembered.read_text()
    assert "ticket" not in text
    remembered.write_text(text.replace("file:///llm", f"file://{origin}"))
    refuse(node)
    with Booting(tmp_path / "boot", node.url) as boot:
        assert boot.finished() == 0
    assert boot.report()["source"] == "origin"


def test_fallback_fail_ends_at_once_with_the_reason(node, tmp_path):
    refuse(node)
    env = {"REPLICA_AGENT_FALLBACK": "fail"}
    with Booting(tmp_path, node.url, env=env) as boot:
        assert boot.finished() == 6
    assert not boot.events()
    report = boot.report()
    assert (report["ok"], report["reason"]) == (False, "no room")


def test_without_an_origin_the_boot_fails_and_says_what_helps(node, tmp_path):
    refuse(node)
    with Booting(tmp_path, node.url) as boot:
        assert boot.finished() == 6
    assert "say --origin NAME=SOURCE" in boot.words()


def test_a_directory_that_is_not_ours_gives_way_to_another_one(node, tmp_path):
    (tmp_path / "state/models").mkdir(parents=True)
    (tmp_path / "state/models").chmod(0o777)
    with Booting(tmp_path, node.url, handover=True) as boot:
        assert boot.finished() == 0
    assert boot.event("loaded")["got"] == sha256(FILES)
    assert "compile caches will miss" in "; ".join(boot.report()["notes"])
