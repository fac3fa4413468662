"""``boots``: what replicas reported of their starts, and where the time of the last one went."""

from argparse import Namespace
from typing import Any
from urllib.parse import urlencode

from rich.console import Group
from rich.table import Table
from rich.text import Text

from cache_protocol import routes
from cache_protocol.errors import ForbiddenError
from cache_protocol.units import show_size
from cache_server.cli.api import NodeApi
from cache_server.cli.foreign import foreign
from cache_server.cli.phases import boot_line, phases_table
from cache_server.cli.printing import show_tables

_COLUMNS = ("started", "pipeline", "host", "source", "bytes", "wait", "ready", "reason")


def boots(api: NodeApi, args: Namespace) -> None:
    """``boots``: the last reports, newest first; of one pipeline also the newest in bars."""
    answer = api.call("GET", _reports(args.id, args.limit))
    reports = answer["boots"]
    newest = [*last_boot(reports), ""] if args.id and reports else []
    shown = boots_table(reports) if reports else Text(_none(args.id))
    show_tables(args, answer, Group(*newest, shown))


def last_boot_of(api: NodeApi, pipeline: str) -> list[Text | Table]:
    """Return the newest boot of ``pipeline``, for who may see it; nothing if there is none.

    Raises:
        CacheError: the node's own error.
    """
    try:
        return last_boot(api.call("GET", _reports(pipeline, 1))["boots"])
    except ForbiddenError:  # a replica's token sees a pipeline and no reports
        return []


def last_boot(reports: list[dict[str, Any]]) -> list[Text | Table]:
    """Return the newest of ``reports``, with a bar for each of its phases."""
    return [boot_line(reports[0]), phases_table(reports[0])] if reports else []


def boots_table(reports: list[dict[str, Any]]) -> Table:
    """Return one row per boot."""
    table = Table(*_COLUMNS, box=None)
    for boot in reports:
        table.add_row(
            foreign(boot["started"]),
            foreign(boot["pipeline"]),
            foreign(boot["host"]),
            foreign(boot["source"], style="" if boot["ok"] else "red"),
            show_size(boot["bytes"]),
            f"{boot['weight_wait']:.2f} s",
            f"{boot['time_to_ready']:.2f} s" if boot["ok"] else "failed",
            foreign(boot.get("reason") or ""),
        )
    return table


def _none(pipeline: str | None) -> str:
    return f"no boots of {pipeline} reported yet" if pipeline else "no boots reported yet"


def _reports(pipeline: str | None, limit: int) -> str:
    query = {"limit": limit} | ({"pipeline": pipeline} if pipeline else {})
    return f"{routes.BOOTS}?{urlencode(query)}"
