import json
import re
from pathlib import Path

import pytest

from cache_protocol import errors
from cache_protocol.errors import CacheError
from cache_server.cli.exits import EXIT_CODES, EXITS, NEXT, complaint, document, exit_code
from cache_server.fill.fill import FillStoppedError

CONTRACT = Path(__file__).resolve().parents[4] / "docs/contract.md"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CacheError("a bug"), 1),
        (errors.MalformedError("no"), 2),
        (errors.ServerUnreachableError("nobody"), 3),
        (errors.UnknownPipelineError("none"), 4),
        (errors.ForbiddenError("no"), 4),
        (errors.OriginDeniedError("gated"), 5),
        (errors.IntegrityError("wrong"), 6),
        (errors.CapacityError("full"), 7),
        (errors.DrainingError("stopping"), 8),
        (errors.DiskError("sick"), 8),
        (FillStoppedError("stopped"), 8),  # as its nearest class in the table
    ],
    ids=lambda value: getattr(value, "code", ""),
)
def test_a_command_ends_with_the_code_of_the_nearest_class(error, code):
    assert exit_code(error) == code


def test_no_error_and_no_code_is_listed_twice():
    kinds = [kind for each in EXITS for kind in each.kinds]
    codes = [each.code for each in EXITS]
    assert len(set(kinds)) == len(kinds)
    assert codes == sorted(set(codes))


def test_the_contract_lists_the_same_codes():
    table = re.findall(r"^\| (\d+) \| ([^|]+) \|$", CONTRACT.read_text(), re.MULTILINE)
    assert [(int(code), meaning) for code, meaning in table] == [
        (each.code, each.meaning) for each in EXITS
    ]


def test_an_error_says_what_to_do_next():
    said = complaint(errors.ServerUnreachableError("nobody answers at x"))
    assert said.splitlines()[0] == "cache-server: nobody answers at x"
    assert "--server URL" in said.splitlines()[1]
    assert complaint(CacheError("a bug")) == "cache-server: a bug"


def test_programs_get_the_same_as_one_document(run):
    code, out, err = run("status", "--json", "--server", "http://127.0.0.1:1")
    assert (code, out) == (3, "")
    told = json.loads(err)
    assert (told["code"], told["retry"]) == ("server-unreachable", "later")
    assert told["next"] == NEXT[errors.ServerUnreachableError]
    assert set(document(CacheError("x"))) == {"code", "detail", "retry"}


@pytest.mark.parametrize(
    "words",
    [(), ("serve",), ("tokens",), ("pipelines",), ("boots",), ("health",), ("completion",)],
    ids=" ".join,
)
def test_every_help_lists_the_exit_codes(run, words):
    assert EXIT_CODES.strip() in run(*words, "--help")[1]
