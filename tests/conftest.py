"""Hypothesis profiles of the suite: ``repo`` on a laptop, ``ci`` where ``CI`` is set.

What needs a GPU is left out, and said to be, unless ``-m gpu`` asks for it. Then nothing else is
even imported: a host with a GPU may have torch and pytest, and none of the server's libraries.

With ``--no-loadscope-reorder`` the folders that take longest come first: of several processes none
is left with one of theirs at the end while the others stand idle.
"""

import gc
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

# Explaining a failure re-runs it under a tracer, which costs minutes before Python 3.12.
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)

settings.register_profile("repo", deadline=None, phases=_PHASES)
# CI machines are slow at odd moments: examples are neither timed nor called too slow to make.
# The same examples every time, so that a red run can be had again.
settings.register_profile(
    "ci",
    deadline=None,
    phases=_PHASES,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") else "repo")

_LEFT_OUT = pytest.StashKey[int]()
_LONGEST = ("engines", "browser", "faults", "integration")  # folders, by the time of a file


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import nothing but tests that need a GPU where only those are asked for."""
    if config.option.markexpr.strip() != "gpu" or _needs_a_gpu(collection_path):
        return None  # others may ignore it
    return True


def _needs_a_gpu(path: Path) -> bool:
    """Return whether a file, or one in a folder, says so. Its text is read: it may not load."""
    files = [path] if path.is_file() else path.rglob("test_*.py")
    return any("mark.gpu" in file.read_text() for file in files)


@pytest.hookimpl(trylast=True)  # others put files in an order of theirs
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put long files first where that is asked for, and leave out what needs a GPU."""
    if not config.getoption("loadscopereorder", default=True):
        items.sort(key=_place)
    _leave_out(config, items)


def pytest_collection_finish() -> None:
    """Let no collection of garbage look at what all tests are made of: many tests ask for one."""
    gc.collect()
    gc.freeze()


def _place(item: pytest.Item) -> int:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return _LONGEST.index(folder) if folder in _LONGEST else len(_LONGEST)


def _leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a GPU, unless markers were asked for by name."""
    if "gpu" in config.option.markexpr:
        return
    there = [item for item in items if item.get_closest_marker("gpu") is None]
    left_out = [item for item in items if item.get_closest_marker("gpu") is not None]
    config.hook.pytest_deselected(items=left_out)
    config.stash[_LEFT_OUT] = len(left_out)
    items[:] = there


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that reports, where this is one of several that run tests."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(_LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what such a process told; each of them collects everything."""
    node.config.stash[_LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say loudly what was left out."""
    if config.stash.get(_LEFT_OUT, 0):
        terminalreporter.write_line(
            f"!! NO GPU: {config.stash[_LEFT_OUT]} tests that need one were left out; on a host "
            "with one: python3 -m pytest -m gpu",
            yellow=True,
        )
