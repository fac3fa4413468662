"""The stand-in for libcuda, compiled: a process finds it in LD_LIBRARY_PATH."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")


def compiled(where):
    """Return ``where``, with the library in it; skip the test where nothing compiles, but in CI."""
    compiler = shutil.which("cc")
    if compiler is None:
        if os.environ.get("CI"):
            pytest.fail("no C compiler for the stand-in of libcuda: apt-get install gcc libc6-dev")
        pytest.skip("no C compiler for the stand-in of libcuda")
    target = where / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", target, SOURCE, "-ldl"], check=True)
    return where
