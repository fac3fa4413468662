import io

import pytest
from rich.console import Console

from cache_server.cli.chips import Chips, chip_words

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
            {**WARM, "hot": True, "hot_until": "2026-11-22T14:05:00Z"},
            "warm, hot until 22 Nov 14:05 UTC",
        ),
        ({**WARM, "hot_until": "2026-11-22T14:05:00Z"}, "warm"),  # it was, until then
        (FILLING, "filling 43 %"),
        ({**FILLING, "size": None, "filled": 0}, "filling"),
        ({**FILLING, "eta": "2026-11-22T14:05:00+00:00"}, "filling 43 %, done at 14:05:00 UTC"),
        ({**WARM, "next": {"size": 50, "filled": 25}}, "warm, next 50 %"),
        ({**WARM, "next": {"size": None, "filled": 0}}, "warm, next"),
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
