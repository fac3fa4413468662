"""The engine's own environment, as it can be told from COMMAND."""

import sys

import pytest

from cache_protocol.errors import CacheError
from replica_agent.boot.interpreter import engine_version, interpreter_of


def install(packages, version="0.31.0"):
    """Make what says that vLLM is installed in ``packages``."""
    package = packages / f"vllm-{version}.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")


def script(programs, line):
    """Make a ``vllm`` that begins with ``line``; return its path."""
    path = programs / "vllm"
    path.write_bytes(line + b"\nimport vllm\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def empty(tmp_path):
    """An environment without packages, and nothing of ours; returns its ``bin``."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python").symlink_to(sys.executable)
    script(programs, b"#!" + bytes(programs / "python"))
    return programs


@pytest.fixture
def elsewhere(tmp_path, empty):
    """The same with a vLLM."""
    install(tmp_path / "lib/python3.12/site-packages")
    return empty


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


@pytest.mark.parametrize("line", ["#!/usr/bin/env python", "#!/usr/bin/env -S A=1 python -u"])
def test_env_finds_the_python_of_a_script_as_it_would(elsewhere, monkeypatch, line):
    monkeypatch.setenv("PATH", f"{elsewhere}:/usr/bin:/bin")
    command = [script(elsewhere, line.encode()), "serve"]
    assert interpreter_of(command) == str(elsewhere / "python")
    assert engine_version(command) == "0.31.0"


@pytest.mark.parametrize("line", [b"#!/opt/\xff\xfe/bin/python", b"#!/opt/\0/python"])
def test_a_script_whose_python_has_an_odd_name_ends_no_boot(empty, line):
    assert engine_version([script(empty, line)]) is None


def test_a_script_that_names_nothing_runs_in_ours(empty):
    assert interpreter_of([script(empty, b"#!")]) == sys.executable


@pytest.mark.parametrize(
    "place", ["lib/python3/dist-packages", "local/lib/python3.12/dist-packages"]
)
def test_debian_has_its_packages_elsewhere(tmp_path, empty, place):
    install(tmp_path / place)
    assert engine_version([str(empty / "python")]) == "0.31.0"


def test_for_what_runs_in_ours_it_is_what_is_installed_here(tmp_path, monkeypatch):
    install(tmp_path, "0.30.1")
    monkeypatch.syspath_prepend(tmp_path)
    assert engine_version([sys.executable, "-m", "engine"]) == "0.30.1"


def test_what_does_not_tell_runs_in_ours():
    assert interpreter_of(["/bin/sh", "-c", "vllm serve"]) == sys.executable


def test_a_command_that_is_not_there_has_no_version():
    assert engine_version(["no-such-engine"]) is None
    with pytest.raises(CacheError, match="no program"):
        interpreter_of(["no-such-engine"])


def test_an_environment_without_vllm_has_none(empty):
    assert engine_version([str(empty / "vllm")]) is None
