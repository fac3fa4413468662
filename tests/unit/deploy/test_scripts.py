"""Scripts of this repository, with stand-ins for all that they start."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
INSTALLERS = [each.name for each in SCRIPTS.glob("install-*") if each.name != "install-promtool"]


class Checkout:
    """A folder with a script in it; it writes down what was called."""

    def __init__(self, folder: Path, script: str) -> None:
        self.folder = folder
        self.script = folder / "scripts" / script
        self.script.parent.mkdir()
        shutil.copy(SCRIPTS / script, self.script)

    def stand_in(self, path: str, then: str = "exit 0") -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'#!/bin/sh\necho "{path} $*" >>{self.folder}/called\n{then}\n')
        file.chmod(0o700)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        env = {"PATH": os.environ["PATH"]}
        command = [str(self.script), *words]
        return subprocess.run(
            command, env=env, check=False, capture_output=True, text=True, timeout=30
        )

    @property
    def called(self) -> list[str]:
        return (self.folder / "called").read_text().splitlines()


@pytest.mark.parametrize("missing", INSTALLERS)
def test_the_suite_runs_without_a_program_that_cannot_be_installed_and_says_so(tmp_path, missing):
    checkout = Checkout(tmp_path, "test")
    for name in ("setup", *INSTALLERS):
        checkout.stand_in(f"scripts/{name}", "exit 1" if name == missing else "exit 0")
    checkout.stand_in(".venv/bin/python")
    done = checkout.run("-k", "ranges")
    assert (done.returncode, checkout.called[-1]) == (0, ".venv/bin/python -m pytest -k ranges")
    assert done.stderr.count("!! NO ") == 1


def test_redbot_is_installed_with_the_python_that_there_is(tmp_path):
    checkout = Checkout(tmp_path, "install-redbot")
    checkout.stand_in(
        ".venv/bin/python", "mkdir -p .venv-redbot; ln -sf ../.venv/bin .venv-redbot/bin"
    )
    assert checkout.run().returncode == 0
    assert checkout.called[0] == ".venv/bin/python -m venv .venv-redbot"
