"""``cache-server tickets`` as it is typed, against a control plane over a real socket."""

import json

import pytest

from cache_server import __main__ as program
from tests.fakes.control_plane import TOKEN, control_plane
from tests.fakes.origin import MemoryOrigins
from tests.fakes.service import running_service


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command; return its stdout."""

    def run(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["cache-server", *words, "--server", plane.url])
        program.main()
        return capsys.readouterr().out

    monkeypatch.setenv("CACHE_SERVER_ADMIN_TOKEN", TOKEN)
    with (
        running_service(tmp_path / "root", MemoryOrigins({})) as bench,
        control_plane(bench.service) as plane,
    ):
        yield run


def test_a_rotation_says_what_is_still_accepted(run):
    assert "1 older, until their tickets run out" in run("tickets", "rotate")
    assert "no older key" in run("tickets", "rotate", "--revoke")


def test_a_program_gets_the_keys_names(run):
    answer = json.loads(run("tickets", "rotate", "--json"))
    assert answer["accepted"][0] == answer["key"]
