"""Tools of the machine that tests need: on a laptop they may be missing, in CI not."""

import os
import shutil
import sys
from pathlib import Path

import pytest


def program(name: str, how: str) -> str:
    """Return the path of ``name``; without it skip the test that calls this, in CI fail it.

    Args:
        name: as it is typed; beside our Python counts as well.
        how: what installs it.
    """
    beside = Path(sys.executable).parent
    found = shutil.which(name) or shutil.which(name, path=str(beside))
    if found is not None:
        return found
    refuse = pytest.fail if os.environ.get("CI") else pytest.skip
    return refuse(f"{name} is not there: {how}")
