"""An attacker's host reports a boot whose words would take over an operator's terminal."""

import pytest
from rich.console import Console

from cache_protocol.errors import CacheError
from cache_server.cli.boots import boots_table
from cache_server.cli.exits import complaint
from cache_server.cli.foreign import foreign, visible
from cache_server.cli.phases import boot_line, phases_table

CLEAR, TITLE, LINK = "\x1b[2J", "\x1b]0;owned\x07", "\x1b]8;;http://evil\x1b\\"
MARKUP = "[red][link=http://evil]x[/link]"
EVIL = CLEAR + TITLE + LINK + "\r\x08\x9b31m\u202e" + MARKUP
REPORT = {
    "pipeline": "voice",
    "host": EVIL,
    "started": EVIL,
    "source": EVIL,
    "ok": False,
    "bytes": 1,
    "weight_wait": 0.0,
    "time_to_ready": 1.0,
    "reason": EVIL,
    "phases": [{"name": EVIL, "start": 0.0, "seconds": 1.0}],
}


def shown(*what: object) -> str:
    console = Console(width=1000, force_terminal=False, record=True)
    with console.capture() as said:
        for each in what:
            console.print(each)
    return said.get()


@pytest.mark.parametrize(
    "what",
    [foreign(EVIL), boots_table([REPORT]), boot_line(REPORT), phases_table(REPORT)],
    ids=["words", "table", "line", "phases"],
)
def test_no_word_of_a_report_reaches_the_terminal_as_a_command(what):
    said = shown(what)
    assert not [c for c in said if not c.isprintable() and c != "\n"]
    assert r"\x1b[2J" in said
    assert MARKUP in said.replace("\n", "")


def test_nor_does_a_word_of_an_origins_error():
    said = complaint(CacheError(f"the origin says {EVIL}"))
    assert all(c.isprintable() or c == "\n" for c in said)


def test_words_of_other_scripts_stay_as_they_are():
    assert visible("日本語, Ünïcödé 🙂\n2") == "日本語, Ünïcödé 🙂\n2"
