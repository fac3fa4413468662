"""Where the time of one boot went: a bar per phase, on one axis from its start."""

from typing import Any

from rich.table import Table
from rich.text import Text

from cache_protocol.units import show_size
from cache_server.cli.foreign import foreign

_WIDTH = 50  # columns of the axis
_COLOURS = {"pull": "green", "weight-wait": "red"}  # the link, and what it cost the engine


def boot_line(boot: dict[str, Any]) -> Text:
    """Return what the boot was."""
    what = "ready" if boot["ok"] else "failed"
    said = foreign(
        f"{boot['pipeline']} on {boot['host']}, {boot['started']}: {what} after "
        f"{boot['time_to_ready']:.2f} s, {show_size(boot['bytes'])} from {boot['source']}, "
        f"{boot['weight_wait']:.2f} s of waiting for weights",
        style="" if boot["ok"] else "red",
    )
    return said.append_text(foreign(f"\n{boot['reason']}")) if boot.get("reason") else said


def phases_table(boot: dict[str, Any]) -> Table:
    """Return one row per phase, in the order in which they begin."""
    table = Table("phase", "start", "seconds", "", box=None)
    phases = sorted(boot["phases"], key=lambda p: p["start"])
    end = max((p["start"] + p["seconds"] for p in phases), default=0) or 1
    for phase in phases:
        bar = _bar(phase["start"] / end, phase["seconds"] / end)
        times = (f"{phase['start']:.2f}", f"{phase['seconds']:.2f}")
        table.add_row(
            foreign(phase["name"]), *times, Text(bar, _COLOURS.get(phase["name"], "blue"))
        )
    return table


def _bar(start: float, share: float) -> str:
    """Return a bar that begins at ``start``, both as shares of the axis; never nothing at all."""
    before = min(int(start * _WIDTH), _WIDTH - 1)
    return " " * before + "█" * max(1, min(round(share * _WIDTH), _WIDTH - before))
