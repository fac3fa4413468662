"""Commands as they are typed, against a control plane over a real socket."""

import logging
import os
from contextlib import contextmanager

import pytest

from cache_server import __main__ as program
from cache_server.cli import commands
from tests.fakes.control_plane import TOKEN, control_plane
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, chunks, running_service


@pytest.fixture
def origin():
    return MemoryOrigin({"config.json": b"{}", "w.dat": chunks(0.2)})


@pytest.fixture
def bench(tmp_path, origin, quick_retries):
    origins = MemoryOrigins({SOURCE: origin})
    with running_service(tmp_path / "root", origins, capacity=50 * 2**20) as bench:
        bench.reconciled()
        yield bench


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a command; return its exit code, what it said, and what it complained about."""
    umask = os.umask(0o077)  # ``serve`` sets it for the whole process, and who writes logs
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for name in [n for n in os.environ if n.startswith("CACHE_SERVER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "POLL", 0.01)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["cache-server", *words])
        code = 0
        with _log_as_before():
            try:
                program.main()
            except SystemExit as ended:
                code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    yield run
    root.handlers[:] = handlers
    root.setLevel(level)
    os.umask(umask)


@contextmanager
def _log_as_before():
    """Take away what ``serve`` has the log written to: a stream of this test alone."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@pytest.fixture
def plane(bench, run, monkeypatch):
    """A node to talk to, whose token is in the environment."""
    with control_plane(bench.service) as plane:
        monkeypatch.setenv("CACHE_SERVER_ADMIN_TOKEN", TOKEN)
        yield plane


@pytest.fixture
def node(plane, run):
    """``run`` with a node to talk to."""
    return lambda *words: run(*words, "--server", plane.url)
