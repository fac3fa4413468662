"""``boots --stats``: what many boots of a pipeline say together."""

from argparse import Namespace
from typing import Any
from urllib.parse import urlencode

from rich.table import Table
from rich.text import Text

from cache_protocol import routes
from cache_server.cli.api import NodeApi
from cache_server.cli.foreign import foreign
from cache_server.cli.printing import show_tables

_COLUMNS = (
    "pipeline",
    "region",
    "path",
    "boots",
    "failed",
    "p50",
    "p90",
    "p99",
    "wait p50",
    "trend",
)


def stats(api: NodeApi, args: Namespace) -> None:
    """Show percentiles per pipeline, region and start path, and what became slower."""
    query = f"?{urlencode({'pipeline': args.id})}" if args.id else ""
    answer = api.call("GET", routes.BOOT_STATS + query)
    shown = stats_table(answer["stats"]) if answer["stats"] else Text("no boots reported yet")
    show_tables(args, answer, shown)


def stats_table(groups: list[dict[str, Any]]) -> Table:
    """Return one row per group of boots."""
    table = Table(*_COLUMNS, box=None)
    for each in groups:
        ready = each["time_to_ready"] or {}
        wait = each["weight_wait"] or {}
        table.add_row(
            foreign(each["pipeline"]),
            foreign(each["region"]),
            foreign(each["start_path"]),
            str(each["boots"]),
            Text(str(each["failed"]), style="red" if each["failed"] else ""),
            *(_seconds(ready.get(p)) for p in ("p50", "p90", "p99")),
            _seconds(wait.get("p50")),
            _trend(each["regression"]),
        )
    return table


def _trend(regression: dict[str, Any] | None) -> Text:
    if regression is None:
        return Text("")
    before, now = _seconds(regression["before"]), _seconds(regression["now"])
    phase = regression["phase"]
    grew = f": {phase}" if phase else ""
    return foreign(f"slower, {before} to {now}{grew}", style="red")


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"
