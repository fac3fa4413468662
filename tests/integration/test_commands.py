"""Both commands as a person types them."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.node import Node, clean_environment
from cache_protocol.digests import CHUNK_SIZE
from tests.fakes.hub import Hub
from tests.integration.conftest import Hold
from tests.integration.content import chunks, tree, write
from tests.integration.programs import (
    agent_environment,
    cache_of,
    cache_server,
    pull,
    replica,
    replica_agent,
    running,
    until,
)


@pytest.fixture
def weights(scratch: Path) -> Path:
    return write(scratch / "weights", {"a.dat": chunks(1), "config.json": b"{}"})


def test_a_session_registers_warms_shows_and_removes(
    node: Node, pipeline: str, weights: Path
) -> None:
    def typed(*words: object) -> str:
        done = cache_server(*words, "--root", node.root)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert "registered" in typed("pipelines", "put", pipeline, "--model", f"m=file://{weights}")
    assert '"state": "warm"' in typed("warm", pipeline, "--wait").splitlines()[-1]
    assert pipeline in typed("pipelines", "ls")
    assert "config.json" in typed("pipelines", "show", pipeline)
    assert "origin bytes" in typed("status")
    assert "removed" in typed("pipelines", "rm", pipeline)
    assert pipeline not in typed("pipelines", "ls").split()


@pytest.mark.parametrize("words", [["pipelines", "ls"], ["status"]], ids=" ".join)
def test_json_is_one_document_for_programs(node: Node, words: list[str]) -> None:
    done = cache_server(*words, "--json", "--root", node.root)
    assert done.returncode == 0
    assert isinstance(json.loads(done.stdout), dict)


def test_progress_without_a_terminal_is_a_json_document_per_line(
    node: Node, pipeline: str, weights: Path
) -> None:
    node.put(pipeline, {"m": f"file://{weights}"})
    done = cache_server("warm", pipeline, "--wait", "--json", "--root", node.root)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1] == {
        "pipeline": pipeline,
        "state": "warm",
        "size": CHUNK_SIZE + 2,
        "filled": CHUNK_SIZE + 2,
    }


def test_progress_on_a_terminal_is_a_bar(node: Node, pipeline: str, weights: Path) -> None:
    node.put(pipeline, {"m": f"file://{weights}"})
    command = [sys.executable, "-m", "cache_server", "warm", pipeline, "--wait"]
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        done = subprocess.run(
            [*command, "--root", node.root],
            env=clean_environment(TERM="xterm", COLUMNS="120"),
            stdout=theirs,
            check=False,
        )
        os.close(theirs)
        shown = os.read(screen.fileno(), 2**20).decode()
    assert done.returncode == 0
    assert "━" in shown
    assert f"{pipeline}: warm" in shown


def test_a_pipelines_file_registers_many(node: Node, weights: Path, scratch: Path) -> None:
    file = scratch / "pipelines.yaml"
    entry = "  - {{id: {0}, models: [{{name: m, source: 'file://{1}'}}]}}\n"
    ids = ("of-a-file-1", "of-a-file-2")
    file.write_text("pipelines:\n" + "".join(entry.format(each, weights) for each in ids))
    done = cache_server("pipelines", "put", "--file", file, "--root", node.root)
    assert done.returncode == 0, done.stderr
    for each in ids:
        node.warm(each)


WRONG = [
    [],
    ["fly"],
    ["pipelines"],
    ["pipelines", "put", "x"],
    ["pipelines", "put", "x", "--model", "no-equals-sign"],
    ["pipelines", "put", "Not An Id", "--model", "m=hf://a/b"],
    ["pipelines", "put", "x", "--model", "m=gopher://a"],
    ["warm"],
]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_usage_of_the_servers_commands_exits_2(node: Node, words: list[str]) -> None:
    root = ["--root", str(node.root)] if len(words) > 1 else []
    done = cache_server(*words, *root)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [[], ["pull"], ["pull", "--pipeline", "x"], ["pull", "--pipeline", "No Id", "--to", "x"]],
    ids=" ".join,
)
def test_wrong_usage_of_the_agent_exits_2(node: Node, words: list[str]) -> None:
    done = replica_agent(node, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--port", "http"], ["--host", "0.0.0.0"]], ids=" ".join)
def test_a_setting_that_makes_no_sense_keeps_a_node_from_starting(
    scratch: Path, words: list[str]
) -> None:
    done = cache_server("serve", "--root", scratch / "node", *words)
    assert done.returncode == 2
    assert not (scratch / "node").exists()


@pytest.mark.parametrize("plane", ["control", "data"])
def test_a_port_that_is_taken_is_named_once_with_its_plane(scratch: Path, plane: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ports = {"--port": "0", "--data-port": "0"}
        ports["--port" if plane == "control" else "--data-port"] = port
        words = [word for pair in ports.items() for word in pair]
        done = cache_server("serve", "--root", scratch / plane, *words)
    assert done.returncode == 1
    assert f"the {plane} plane cannot listen on 127.0.0.1:{port}: Address already" in done.stderr
    assert done.stderr.count(port) == 1


def test_a_misspelt_variable_is_named_with_the_nearest_right_one(scratch: Path) -> None:
    done = cache_server("serve", "--root", scratch / "node", CACHE_SERVER_CAPACTIY="1GB")
    assert done.returncode == 2
    assert "CACHE_SERVER_CAPACITY" in done.stderr


def test_an_unknown_pipeline_has_a_code_of_its_own(node: Node, scratch: Path) -> None:
    assert cache_server("warm", "nobodys", "--root", node.root).returncode == 4
    done = pull(node, "nobodys", scratch / "out")
    assert (done.returncode, "nobodys" in done.stderr) == (3, True)


def test_a_wrong_token_has_a_code_of_its_own(node: Node, scratch: Path) -> None:
    done = cache_server("status", "--server", node.control, CACHE_SERVER_ADMIN_TOKEN="wrong")
    assert done.returncode == 4
    command = [sys.executable, "-m", "replica_agent", "pull", "--pipeline", "x", "--to", scratch]
    env = clean_environment(REPLICA_AGENT_SERVER=node.control, REPLICA_AGENT_TOKEN="wrong")
    assert subprocess.run(command, env=env, check=False, capture_output=True).returncode == 4


def test_a_node_that_is_not_there_has_a_code_of_its_own(scratch: Path) -> None:
    # Port 9 is "discard": nobody listens there.
    assert cache_server("status", "--server", "http://127.0.0.1:9").returncode == 3


def test_the_error_of_a_fill_is_the_end_of_waiting_for_it(
    node: Node, pipeline: str, scratch: Path
) -> None:
    node.put(pipeline, {"m": f"file://{scratch}/nowhere"})
    done = cache_server("warm", pipeline, "--wait", "--root", node.root)
    assert done.returncode == 5
    assert "does not exist" in done.stderr


def test_ctrl_c_ends_the_waiting_and_not_the_fill(
    node: Node, hub: Hub, pipeline: str, repo: str, hold: Hold
) -> None:
    hub.commit(repo, {"a.dat": chunks(2)})
    gate = hold(f"{repo}/", at="cdn", chunk=1)
    node.put(pipeline, {"m": f"hf://{repo}"})
    words = ("warm", pipeline, "--wait", "--root", node.root)
    with running("cache_server", *words, env=clean_environment()) as waiting:
        assert waiting.stdout is not None
        waiting.stdout.readline()  # it waits
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait() == 130
        assert waiting.stderr is not None
        assert waiting.stderr.read() == ""
    gate.set()
    until(lambda: cache_of(node, pipeline)["warm"])


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_pull_that_is_interrupted_leaves_nothing_behind(
    node: Node, hub: Hub, pipeline: str, repo: str, hold: Hold, scratch: Path, how: int, code: int
) -> None:
    hub.commit(repo, {"a.dat": chunks(9)})
    hold(f"{repo}/", at="cdn", chunk=7)
    node.put(pipeline, {"m": f"hf://{repo}"})
    words = ("pull", "--pipeline", pipeline, "--to", scratch / "out")
    with running("replica_agent", *words, env=agent_environment(node)) as pulling:
        hub.wait_until_stalled()
        until(lambda: list(scratch.rglob("a.dat")))  # under a hidden directory
        pulling.send_signal(how)
        assert pulling.wait() == code
        assert pulling.stderr is not None
        assert "Traceback" not in pulling.stderr.read()
    assert list((scratch / "out").iterdir()) == []


def test_a_pipeline_that_a_replica_reads_is_not_removed_unless_forced(
    node: Node, pipeline: str, weights: Path
) -> None:
    node.put(pipeline, {"m": f"file://{weights}"})
    with replica(node, pipeline, "--hold-at", "0") as reader:
        reader.says("held")
        refused = cache_server("pipelines", "rm", pipeline, "--root", node.root)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "1 replica" in refused.stderr
        forced = cache_server("pipelines", "rm", pipeline, "--force", "--root", node.root)
        assert forced.returncode == 0


def test_a_pipeline_can_be_removed_when_its_replica_is_done(
    node: Node, pipeline: str, weights: Path, scratch: Path
) -> None:
    node.put(pipeline, {"m": f"file://{weights}"})
    assert pull(node, pipeline, scratch / "out").returncode == 0
    until(lambda: not cache_of(node, pipeline).get("eta"))
    done = cache_server("pipelines", "rm", pipeline, "--root", node.root)
    assert done.returncode == 0, done.stderr


def test_removing_a_pipeline_gives_its_room_back(node: Node, pipeline: str, weights: Path) -> None:
    used = node.call("GET", "/v1/status")["used"]
    node.put(pipeline, {"m": f"file://{weights}"})
    node.warm(pipeline)
    slot = node.root / "slots/default" / pipeline
    assert tree(slot)
    assert cache_server("pipelines", "rm", pipeline, "--root", node.root).returncode == 0
    assert node.call("GET", "/v1/status")["used"] == used
    assert not (slot.exists() and tree(slot))
    assert not list((node.root / "trash").iterdir())


def test_a_second_node_on_one_root_is_refused_and_the_first_goes_on(
    node: Node, pipeline: str, weights: Path, scratch: Path
) -> None:
    words = ("--root", node.root, "--port", "0", "--data-port", "0")
    done = cache_server("serve", *words)
    assert done.returncode == 8
    assert str(node.pid) in done.stderr
    node.put(pipeline, {"m": f"file://{weights}"})
    assert pull(node, pipeline, scratch / "out").returncode == 0


def test_no_secret_is_shown_in_what_a_node_says(
    node: Node, hub: Hub, pipeline: str, repo: str
) -> None:
    hub.commit(repo, {"a.dat": b"a"})
    node.put(pipeline, {"m": f"hf://{repo}"})
    node.warm(pipeline)
    said = json.dumps(node.call("GET", f"/v1/pipelines/{pipeline}"))
    assert node.token not in said + node.log.read_text()
    assert "Signature=" not in said + node.log.read_text()
