"""REDbot's word on a URL; ``scripts/install-redbot`` installs it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
PYTHON = REPOSITORY / ".venv-redbot/bin/python"


def judge(url: str, token: str) -> list[dict[str, Any]]:
    """Return its notes; skip the test that calls this, loudly, where it is not installed."""
    _require()
    # By its file, since packages of that venv are called ``tests`` too.
    command = [PYTHON, REPOSITORY / "tests/fakes/redbot_process.py", url, token]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    notes: list[dict[str, Any]] = json.loads(done.stdout)
    return notes


def _require() -> None:
    if (REPOSITORY / ".venv-redbot/installed").exists():
        return
    reason = "NO REDbot HERE: run scripts/install-redbot"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
