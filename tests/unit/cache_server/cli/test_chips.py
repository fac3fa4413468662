import io

import pytest
from rich.console import Console

from cache_server.cli.chips import Chips, chip_words
from cache_server.core.slots import SlotState
from cache_server.dashboard.words import chips
from tests.fakes.glances import NOW, filling, glance

WARM = {"state": "warm", "pinned": False, "hot": False, "hot_until": None, "size": 100}
FILLING = {**WARM, "state": "filling", "filled": 43}


def shown(cache: dict, **console: object) -> str:
    screen = io.StringIO()
    Console(file=screen, width=120, **console).print(Chips(cache))
    return screen.getvalue().rstrip("\n")


@pytest.mark.parametrize(
    ("cache", "words"),
    [
        (WARM, "warm"),
        ({**WARM, "state": "cold"}, "cold"),
        ({**WARM, "state": "evicting"}, "evicting"),
        ({**WARM, "pinned": True}, "warm, pinned"),
        (
            {**WARM, "hot": True, "hot_until": "2026-11-02T14:05:00Z"},
            "warm, hot until 2 Nov 14:05 UTC",
        ),
        ({**WARM, "hot_until": "2026-11-22T14:05:00Z"}, "warm"),  # it was, until then
        (FILLING, "filling 43 %"),
        ({**FILLING, "size": None, "filled": 0}, "filling"),
        ({**WARM, "state": "filling"}, "filling"),  # of an event, at the end of a fill
        ({**FILLING, "eta": "2026-11-22T14:05:00+00:00"}, "filling 43 %, done at 14:05:00 UTC"),
        ({**WARM, "next": {"size": 50, "filled": 25}}, "warm, refreshing 50 %"),
        ({**WARM, "next": {"size": None, "filled": 0}}, "warm, refreshing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_chip_says_how_a_pipeline_stands(cache, words):
    assert chip_words(cache) == words


def test_chips_are_boxes_in_colour_on_a_terminal():
    said = shown({**WARM, "pinned": True}, force_terminal=True, color_system="standard")
    assert said == "\x1b[30;42m warm \x1b[0m \x1b[30;46m pinned \x1b[0m"


@pytest.mark.parametrize(
    "console", [{"force_terminal": True, "no_color": True, "color_system": "standard"}, {}]
)
def test_chips_are_words_where_nobody_wants_colour_or_nobody_looks(console):
    assert shown({**WARM, "pinned": True}, **console) == "warm, pinned"


def test_the_words_are_those_of_the_dashboard():
    """What a page says of itself more is left out there: ``cache:``, and a time zone here."""
    of = glance(state=SlotState.WARM, pinned=True, hot=True, hot_until=NOW, fill=filling(120))
    on_page = ", ".join(chip.text for chip in chips(of)).removeprefix("cache: ")
    until = NOW.isoformat()
    cache = {"state": "warm", "pinned": True, "hot": True, "hot_until": until}
    cache["next"] = {"size": 1000, "filled": 120}
    assert chip_words(cache).removesuffix(" UTC") == on_page
