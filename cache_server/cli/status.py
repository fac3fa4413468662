"""Commands about the node itself: how it stands, and whether it does."""

import json
import sys
from argparse import Namespace
from typing import Any

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cache_protocol import routes
from cache_protocol.errors import BusyError
from cache_protocol.units import show_size
from cache_server.cli.api import NodeApi
from cache_server.cli.chips import COLOURS, Chips
from cache_server.cli.foreign import foreign
from cache_server.cli.printing import say, show_tables
from cache_server.cli.show import scrub_line

SHOWN = 50  # pipelines; a node has thousands, a terminal has not
_BAR = 40  # columns
_FIRST = ("filling", "evicting", "warm", "cold")  # what moves is what one looks for


def status(api: NodeApi, args: Namespace) -> None:
    """``status``: the node's figures, and every pipeline's chip."""
    answer = api.call("GET", routes.STATUS)
    if args.json:
        print(json.dumps(answer))  # noqa: T201 - a command talks to its terminal
        return
    pipelines = api.call("GET", routes.PIPELINES)["pipelines"]
    figures = node_table(answer, on_terminal=sys.stdout.isatty())
    show_tables(args, answer, figures, Group("", *chips_tables(pipelines)))


def health(api: NodeApi, args: Namespace) -> None:
    """``health``: for the health check of a container, and for scripts that wait.

    Raises:
        BusyError: the node runs and should be sent no work now.
    """
    well, said = api.probe(routes.LIVE if args.live else routes.READY)
    if not well:
        raise BusyError(f"not ready: {said.get('reason') or 'the node does not say why'}")
    say(args, said, said.get("status", "ok"))


def node_table(status: dict[str, Any], *, on_terminal: bool) -> Table:
    """Return the node's figures, one per row; on a terminal also as a bar."""
    table = Table("figure", "value", box=None, show_header=False)
    table.add_row("node", _condition(status))
    table.add_row("region", foreign(status["region"]))
    capacity, used = max(1, status["capacity"]), status["used"]
    if on_terminal:
        table.add_row("space", ProgressBar(total=capacity, completed=used, width=_BAR))
    table.add_row("used", f"{show_size(used)} ({100 * used // capacity} %)")
    for name in ("capacity", "free", "disk_free", "origin_bytes"):
        table.add_row(_words(name), show_size(status[name]))
    for state, count in status["pipelines"].items():
        table.add_row(Text(state, style=COLOURS.get(state, "")), str(count))
    for name in ("fills", "passing_through", "leases", "repaired_chunks", "lost_files"):
        table.add_row(_words(name), str(status[name]))
    scrub = status["scrub"]
    if walk := scrub if scrub["running"] else scrub.get("last"):
        table.add_row("scrub", scrub_line(walk, over=not scrub["running"]))
    return table


def chips_tables(pipelines: list[dict[str, Any]]) -> list[Table | Text]:
    """Return one row per pipeline, those that move first; beyond SHOWN only how many there are."""
    if not pipelines:
        step = "'cache-server pipelines put ID --model NAME=SOURCE' registers one"
        return [Text(f"no pipelines yet: {step}")]
    table = Table("pipeline", "cache", "size", "last error", box=None)
    for each in sorted(pipelines, key=_rank)[:SHOWN]:
        cache = each["cache"]
        size = "" if cache["size"] is None else show_size(cache["size"])
        table.add_row(Text(each["id"]), Chips(cache), size, Text(_error(cache)))
    more = len(pipelines) - SHOWN
    rest = [Text(f"and {more} more: cache-server pipelines ls")] if more > 0 else []
    return [table, *rest]


def _rank(pipeline: dict[str, Any]) -> tuple[bool, int, str]:
    state = pipeline["cache"]["state"]
    failed = "last_error" in pipeline["cache"]
    return (not failed, _FIRST.index(state) if state in _FIRST else len(_FIRST), pipeline["id"])


def _error(cache: dict[str, Any]) -> str:
    error = cache.get("last_error")
    return error["code"] if error else ""


def _condition(status: dict[str, Any]) -> Text:
    if status["disk_sick"]:
        return foreign(f"its disk is sick: {status['disk_sick']}", style="red")
    if status["draining"]:
        return Text("draining: it is about to stop", style="yellow")
    if not status["reconciled"]:
        return Text("looking at what lies on disk", style="yellow")
    return Text("ready", style="green")


def _words(name: str) -> str:
    return name.replace("_", " ")
