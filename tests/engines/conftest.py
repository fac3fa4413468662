"""A real vLLM in a venv of its own, made by ``scripts/install-vllm``.

Where it is not installed these tests are skipped, and say so; with REQUIRE_VLLM in the
environment, as CI sets it after the installation went well, they fail instead.
"""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from benchmarks.node import REPOSITORY
from tests.engines.engine import Engine, environment

INTERPRETER = REPOSITORY / ".venv-vllm/bin/python"


@pytest.fixture(scope="session")
def vllm_python():
    """Return the interpreter that has vLLM."""
    python = Path(os.environ.get("VLLM_PYTHON", INTERPRETER))
    if python.exists():
        return python
    reason = f"NO REAL vLLM HERE: {python} does not exist; run scripts/install-vllm"
    if os.environ.get("REQUIRE_VLLM"):
        pytest.fail(reason)
    return pytest.skip(reason)


@pytest.fixture(scope="session")
def tiny(vllm_python):
    """Return the directory of a tiny Llama."""
    with tempfile.TemporaryDirectory(prefix="warmline-tiny-") as directory:
        command = [vllm_python, "-m", "tests.engines.tiny", directory]
        subprocess.run(
            command, cwd=REPOSITORY, env=environment(), check=True, capture_output=True, timeout=60
        )
        yield Path(directory)


@pytest.fixture(scope="module")
def engine(vllm_python, tmp_path_factory):
    """Return a process that has imported vLLM once and runs engines, one after the other."""
    with Engine(vllm_python, tmp_path_factory.mktemp("engine") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def usual(engine, tiny):
    """Return what vLLM's default loader makes of the tiny model."""
    return engine.run(model=str(tiny), load_format="auto")
