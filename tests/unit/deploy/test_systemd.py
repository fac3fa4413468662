"""The systemd unit, judged by systemd itself where it is there."""

import configparser
import re
import subprocess
from pathlib import Path

import pytest

from cache_server.settings import Settings
from cache_server.stopping import STOP_LIMIT
from tests.fakes.programs import program

FOLDER = Path(__file__).resolve().parents[3] / "deploy/systemd"
UNIT = FOLDER / "warmline-cache.service"
MOST_EXPOSED = 15  # tenths of systemd's points, of 100; the network it needs is half of them


def settings() -> Settings:
    lines = (FOLDER / "cache-server.env").read_text().splitlines()
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return Settings.from_env(dict(pairs), {})


def value(key: str, default: str | None = None) -> str:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNIT)
    return unit["Service"][key] if default is None else unit["Service"].get(key, default)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there."""
    copy = tmp_path / UNIT.name
    copy.write_text(
        re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE)
    )
    return copy


def analyze(*words: object) -> "subprocess.CompletedProcess[str]":
    tool = program("systemd-analyze", "apt-get install systemd")
    command = [tool, "--no-pager", *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_systemd_finds_nothing_wrong(unit):
    done = analyze("verify", unit)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_is_hardly_exposed(unit):
    done = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit)
    assert done.returncode == 0, done.stdout


def test_the_node_tells_the_users_of_its_host_apart():
    # In a namespace of its own every other user is 65534 to SO_PEERCRED, and all share the limit
    # that each has at the local socket.
    assert value("PrivateUsers", "no") == "no"


def test_the_settings_are_settings_of_a_directory_that_it_may_write():
    assert value("ReadWritePaths") == str(settings().root)


def test_a_node_has_time_to_drain_before_it_is_killed():
    assert float(value("TimeoutStopSec")) >= settings().drain.total_seconds() + STOP_LIMIT
