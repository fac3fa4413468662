import json
from importlib.metadata import version

import pytest

from cache_protocol.errors import (
    BusyError,
    CapacityError,
    IntegrityError,
    OriginDeniedError,
    OriginUnavailableError,
    ServerUnreachableError,
    UnauthorizedError,
    UnknownPipelineError,
)
from replica_agent.__main__ import exit_code, main
from replica_agent.settings import KNOWN
from tests.fakes.node import FakeNode


@pytest.fixture
def node():
    with FakeNode({"asr": {"config.json": b"{}"}}) as node:
        yield node


def pull(node, to, *more):
    return main(["pull", "--pipeline", "voice", "--to", str(to), "--server", node.url, *more])


def test_a_pull_prints_a_table_of_phases(node, tmp_path, capsys):
    assert pull(node, tmp_path) == 0
    first = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert first == ["phase", "agent-start", "manifest", "pull", "ready"]


def test_the_report_is_printed_and_written_as_json(node, tmp_path, capsys):
    assert pull(node, tmp_path, "--json", "--report", str(tmp_path / "r.json")) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "r.json").read_text())
    assert report["ok"]
    assert report["verified_bytes"] == report["bytes"] == 2
    assert [p["name"] for p in report["phases"]] == ["agent-start", "manifest", "pull"]


def test_a_failure_is_one_line_and_a_documented_code(node, tmp_path, capsys):
    node.faults.manifest_error = (404, UnknownPipelineError("no pipeline 'voice'"))
    assert pull(node, tmp_path) == 3
    assert capsys.readouterr().err == "replica-agent: no pipeline 'voice'\n"


def test_a_failure_is_in_the_report_with_its_reason(node, tmp_path):
    node.faults.manifest_error = (403, OriginDeniedError("gated"))
    assert pull(node, tmp_path, "--report", str(tmp_path / "r.json")) == 4
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["ok"], report["reason"]) == (False, "gated")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownPipelineError, 3),
        (UnauthorizedError, 4),
        (OriginDeniedError, 4),
        (IntegrityError, 5),
        (CapacityError, 6),
        (ServerUnreachableError, 7),
        (BusyError, 1),
        (OriginUnavailableError, 1),
    ],
)
def test_every_kind_of_failure_has_its_code(error, code):
    assert exit_code(error("x")) == code


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["pull"],
        ["pull", "--pipeline", "p", "--to", ".", "--lanes", "0"],
        *(["boot", "--pipeline", "p", "--patience", n, "--", "true"] for n in ("0", "-1", "nan")),
        ["boot", "--pipeline", "p", "--health", "ftp", "--", "true"],
        ["boot", "--pipeline", "p", "--device", "gpu", "--", "true"],
    ],
)
def test_wrong_usage_is_code_two(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_a_wrong_setting_is_code_two_and_names_it(node, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REPLICA_AGENT_SERVR", "x")
    assert pull(node, tmp_path) == 2
    assert "REPLICA_AGENT_SERVER" in capsys.readouterr().err


def test_help_lists_the_exit_codes(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["pull", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n  {code} " in text for code in (0, 1, 2, 3, 4, 5, 6, 7, 130))


def test_a_directory_that_cannot_be_made_is_said_in_one_line(node, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert pull(node, tmp_path / "file" / "dir") == 1
    assert capsys.readouterr().err.startswith("replica-agent: ")


@pytest.mark.parametrize("verb", [[], ["pull"], ["boot"], ["doctor"]])
def test_help_fits_a_terminal(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        main([*verb, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_help_lists_every_setting(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(f"REPLICA_AGENT_{name.upper()} " in text for name in KNOWN)


def test_a_pull_to_nowhere_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["pull", "--pipeline", "voice", "--to", ""])
    assert caught.value.code == 2
    assert "must name a directory" in capsys.readouterr().err


@pytest.mark.parametrize("origin", ["nonsense", "m=ftp://host/x", "m=hf://", "m=", "=hf://o/n"])
def test_an_origin_that_is_none_is_wrong_usage_before_anything_starts(origin, capsys, tmp_path):
    started = tmp_path / "started"
    words = ["boot", "--pipeline", "voice", "--origin", origin, "--", "touch", str(started)]
    assert main(words) == 2
    assert capsys.readouterr().err
    assert not started.exists()


def test_a_boot_that_failed_was_never_ready(node, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("REPLICA_AGENT_FALLBACK", "fail")
    monkeypatch.setenv("REPLICA_AGENT_STATE_DIR", str(tmp_path))
    node.faults.manifest_error = (404, UnknownPipelineError("no pipeline 'voice'"))
    assert main(["boot", "--pipeline", "voice", "--server", node.url, "--", "true"]) == 3
    first = [line.split()[0] for line in capsys.readouterr().err.splitlines()]
    assert "ended" in first
    assert "ready" not in first


def test_the_version_is_told_without_a_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"replica-agent {version('warmline')}\n"
