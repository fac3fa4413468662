"""The engine's own environment, as it can be told from COMMAND."""

import sys

import pytest

from cache_protocol.errors import CacheError
from replica_agent.boot.interpreter import engine_version, interpreter_of
from replica_agent.engines.installed import vllm_version


@pytest.fixture
def elsewhere(tmp_path):
    """An environment with a vLLM, and nothing of ours; returns its ``bin``."""
    packages = tmp_path / "lib/python3.12/site-packages/vllm-0.31.0.dist-info"
    packages.mkdir(parents=True)
    (packages / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.31.0\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python").symlink_to(sys.executable)
    script = programs / "vllm"
    script.write_text(f"#!{programs}/python\nimport vllm\n")
    script.chmod(0o755)
    return programs


@pytest.mark.parametrize("name", ["vllm", "python"])
def test_the_version_is_that_of_the_commands_own_environment(elsewhere, name):
    assert engine_version([str(elsewhere / name), "serve"]) == "0.31.0"


@pytest.mark.parametrize(
    "words",
    [
        ["sh", "-c", "exec {bin}/vllm serve {{model}}"],
        ["numactl", "--membind=0", "{bin}/python", "-m", "vllm.entrypoints.openai.api_server"],
        ["env", "A=1", "{bin}/python3.12", "-m", "vllm"],
    ],
)
def test_what_is_put_before_the_engine_does_not_hide_it(elsewhere, words):
    (elsewhere / "python3.12").symlink_to(sys.executable)
    command = [word.format(bin=elsewhere) for word in words]
    assert engine_version(command) == "0.31.0"


def test_a_script_runs_in_the_python_that_it_names(elsewhere):
    assert interpreter_of([str(elsewhere / "vllm")]) == str(elsewhere / "python")


def test_for_what_runs_in_ours_it_is_what_is_installed_here():
    assert engine_version([sys.executable, "-m", "engine"]) == vllm_version()


def test_what_does_not_tell_runs_in_ours():
    assert interpreter_of(["/bin/sh", "-c", "vllm serve"]) == sys.executable


def test_a_command_that_is_not_there_has_no_version():
    assert engine_version(["no-such-engine"]) is None
    with pytest.raises(CacheError, match="no program"):
        interpreter_of(["no-such-engine"])


def test_an_environment_without_vllm_has_none(tmp_path, elsewhere):
    packages = tmp_path / "lib/python3.12/site-packages/vllm-0.31.0.dist-info"
    (packages / "METADATA").unlink()
    packages.rmdir()
    assert engine_version([str(elsewhere / "vllm")]) is None
