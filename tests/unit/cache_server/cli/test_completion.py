"""What a shell offers, from the parser and from real shells."""

import os
import subprocess
import sys

import pytest

from cache_server.cli.arguments import parser
from cache_server.cli.completion import FILES, SCRIPTS, answer
from cache_server.core.access import Role
from tests.fakes.programs import program as tool_of

IDS = ["chat", "voice", "vision"]
ROLES = [role.value for role in Role]


def offered(*words: str) -> list[str]:
    return [line.partition("\t")[0] for line in answer(parser(), words, lambda _: IDS)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("sta",), ["status"]),
        (("pipelines", ""), ["put", "ls", "show", "rm"]),
        (("pipelines", "r"), ["rm"]),
        (("warm", "v"), ["voice", "vision"]),
        (("warm", "voice", "v"), []),  # there is but one
        (("warm", "voice", "--w"), ["--wait"]),
        (("warm", "--wait", "--w"), []),  # once is enough
        (
            ("pipelines", "put", "x", "--model", "m=s", "--mod"),
            ["--model"],
        ),  # as often as one likes
        (("tokens", "create", "--role", "v"), ["viewer"]),
        (("tokens", "create", "--role=v"), ["--role=viewer"]),  # a word as zsh and fish have it
        (("tokens", "create", "--role", "=", "v"), ["viewer"]),  # bash cuts words at = and :
        (("tokens", "create", "--role", "=", "viewer", "--role", "="), ROLES),
        (("tokens", "create", "--role", "=", "viewer", "--pipeline", "c"), ["chat"]),
        (("warm", "--root", "=", "DIR", "v"), ["voice", "vision"]),
        (("warm", "--server", "http", ":", "//x", ":", "80", "v"), ["voice", "vision"]),
        (("warm", "--server", "=", "http", ":", "//x", ":", "80", "v"), ["voice", "vision"]),
        (("pipelines", "put", "x", "--model", "m", "=", ""), []),
        (("status", "--root", "=", "D"), [FILES]),
        (("tokens", "create", "--pipeline", "c"), ["chat"]),
        (("tokens", "revoke", ""), []),  # no pipeline's
        (("status", "--server", "http://x", "--j"), ["--json"]),
        (("status", "--server", ""), []),
        (("pipelines", "put", "--file", ""), [FILES]),
        (("status", "--root", ""), [FILES]),
        (("completion", ""), ["bash", "zsh", "fish"]),
        (("no-such-command", ""), []),
    ],
    ids=lambda value: " ".join(value) or "nothing",
)
def test_what_may_stand_at_the_cursor_is_offered(words, expected):
    assert sorted(offered(*words)) == sorted(expected)


def test_every_command_is_offered_with_its_help():
    lines = answer(parser(), [""], lambda _: IDS)
    assert "status\tshow the node's figures, and how each pipeline stands" in lines
    assert len(lines) == len(set(lines)) > 10


def test_the_node_is_asked_only_where_an_id_may_stand():
    def never(_before: object) -> list[str]:
        raise AssertionError

    assert answer(parser(), ["warm", "--"], never)
    assert answer(parser(), ["pip"], never)


def test_the_ids_of_the_node_are_offered(plane, run, bench):
    bench.put()
    assert run("--complete", "warm", "--server", plane.url, "") == (0, "voice\n", "")


def test_the_node_is_asked_whose_address_bash_has_cut(plane, run, bench):
    bench.put()
    host, _, port = plane.url.removeprefix("http://").partition(":")
    cut = ("http", ":", f"//{host}", ":", port)
    for words in (("--server", *cut), ("--server", "=", *cut)):
        assert run("--complete", "warm", *words, "v") == (0, "voice\n", "")


def test_without_a_node_nothing_is_offered(run):
    assert run("--complete", "warm", "--server", "http://127.0.0.1:1", "") == (0, "", "")
    assert run("--complete", "warm", "--server", "") == (0, "", "")


ASKS = {
    "bash": "source {script}; COMP_WORDS=(cache-server pipelines s); COMP_CWORD=2; "
    'complete -p cache-server; _cache_server; echo "${{COMPREPLY[@]}}"',
    "zsh": "compdef() {{ }}; compadd() {{ print -r -- $found }}; source {script}; "
    "words=(cache-server pipelines s); CURRENT=3; _cache_server",
    "fish": "source {script}; complete -C 'cache-server pipelines s'",
}


@pytest.mark.parametrize("shell", list(SCRIPTS))
def test_a_real_shell_offers_it(shell, run, tmp_path):
    found = tool_of(shell, f"apt-get install {shell}")
    script, program = tmp_path / "script", tmp_path / "cache-server"
    script.write_text(run("completion", shell)[1])
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cache_server "$@"\n')
    program.chmod(0o700)
    env = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOME": str(tmp_path),
    }
    norc = {"zsh": ["-f"], "bash": ["--norc"], "fish": ["--no-config"]}[shell]
    said = subprocess.run(
        [found, *norc, "-c", ASKS[shell].format(script=script)],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.splitlines()[-1].split()[0] == "show", said.stderr
