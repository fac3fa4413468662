"""What node and agent write is for their own user, whatever umask they were started with."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.node import running_node
from tests.fakes.boots import Booting
from tests.fakes.hub import Hub
from tests.fakes.weights import safetensors
from tests.integration.content import write


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Start what is started with no umask at all."""
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(top: Path) -> dict[str, str]:
    """Return what others have rights to, of all that lies at and below ``top``."""
    found = {path: path.lstat() for path in (top, *top.rglob("*"))}
    return {
        str(path): oct(stat.S_IMODE(each.st_mode))
        for path, each in found.items()
        if each.st_mode & 0o077 and not stat.S_ISLNK(each.st_mode)
    }


@pytest.mark.usefixtures("open_umask")
def test_all_that_a_node_writes_is_for_its_own_user(scratch: Path) -> None:
    weights = {"config.json": b"{}", "a/m.safetensors": safetensors(1)}
    source = write(scratch / "in", weights)
    root = scratch / "node"
    root.mkdir(mode=0o700)
    with running_node(root) as node:
        node.put("voice", {"m": f"file://{source}"})
        node.warm("voice")
        node.call("GET", "/v1/pipelines/voice/manifest")
        written = {path.name for path in root.rglob("*")}
        assert written >= {"catalogue.db", "catalogue.db-wal", "admin-token", "m.safetensors"}
        assert open_to_others(root) == {}


@pytest.mark.usefixtures("open_umask")
def test_what_an_agent_hands_over_is_for_its_own_user(hub: Hub, scratch: Path) -> None:
    source = write(scratch / "in", {"config.json": b"{}", "m.safetensors": safetensors(1)})
    root = scratch / "node"
    root.mkdir(mode=0o700)
    with running_node(root) as node:
        node.put("voice", {"m": f"file://{source}"})
        stay = Booting(
            scratch / "boot", node.control, handover=True, engine=["--stay"], token=node.token
        )
        with stay as boot:
            boot.event("loaded")
            state = scratch / "boot" / "state"
            (place,) = state.rglob(".warmline.json")
            (sock,) = state.rglob("handover.sock")
            for private in (state, state / "models", place, sock, sock.parent):
                assert stat.S_IMODE(private.stat().st_mode) & 0o077 == 0, private
