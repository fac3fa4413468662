"""The API does what it says of itself: schemathesis asks everything, right and wrong.

Every check that it has, over the application's own description: no answer that is not described,
nothing accepted that the description forbids, no bug. Where a check is looser schemathesis.toml
says why. ``scripts/fuzz`` does the same for longer.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cache_protocol.errors import OriginNotFoundError
from tests.fakes.control_plane import TOKEN, ControlPlane, control_plane
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, chunks, running_service

REPOSITORY = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("schemathesis")
EXAMPLES = "50" if "FUZZ_EXAMPLES" in os.environ else "3"  # of each call, besides coverage
SEED = os.environ.get("FUZZ_SEED", "1")


class Hub(MemoryOrigins):
    """Has nothing of a name that was made up."""

    def __call__(self, spec, *more, **named):
        try:
            return super().__call__(spec, *more, **named)
        except KeyError as error:
            raise OriginNotFoundError(f"there is no {spec.source}") from error


@pytest.fixture
def plane(tmp_path):
    hub = Hub({SOURCE: MemoryOrigin({"config.json": b"{}", "w.safetensors": chunks(0.1)})})
    with running_service(tmp_path / "root", hub, capacity=2**30) as bench:
        bench.reconciled()
        with control_plane(bench.service) as plane:
            yield plane


def schemathesis(plane: ControlPlane) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            PROGRAM,
            "--config-file",
            REPOSITORY / "schemathesis.toml",
            "run",
            f"{plane.url}/openapi.json",
            *("--header", f"Authorization: Bearer {TOKEN}"),
            *("--checks", "all"),
            *("--max-examples", EXAMPLES),
            *("--seed", SEED),
            *("--warnings", "off"),
            "--no-color",
            *("--generation-database", "none"),
            "--continue-on-failure",
        ],
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.timeout(1200)
def test_every_call_answers_as_it_is_described(plane):
    done = schemathesis(plane)
    assert done.returncode == 0, done.stdout
    assert "No issues found" in done.stdout
