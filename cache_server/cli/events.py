"""``events``: how pipelines stand, said again whenever that changes, until Ctrl-C."""

import json
from argparse import Namespace
from collections.abc import Generator, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from cache_protocol import routes
from cache_protocol.errors import ServerUnreachableError
from cache_server.cli.api import NodeApi
from cache_server.cli.chips import Chips
from cache_server.cli.foreign import foreign

OVER = "over"  # what the node says last, and why
AGAIN = "again"  # it only wants to know anew who listens: it does once an hour


def events(api: NodeApi, args: Namespace) -> None:
    """Print a line for each event; the first of each pipeline says how it stands now.

    Raises:
        ServerUnreachableError: the stream broke off before the node ended it.
    """
    console = Console(highlight=False)
    for name, data in _news(api):
        said = json.loads(data)
        if args.json:
            print(json.dumps({"event": name, **said}), flush=True)  # noqa: T201 - for programs
        else:
            _show(console, name, said)


def _news(api: NodeApi) -> Iterator[tuple[str, str]]:
    """Yield what the node says, over as many streams as that takes; nothing twice in a row."""
    last: dict[tuple[str, str], str] = {}  # of each pipeline; each stream begins with all of them
    reason = AGAIN
    while reason == AGAIN:
        reason = yield from _unheard(last, parse(api.lines(routes.EVENTS)))


def _unheard(
    last: dict[tuple[str, str], str], heard: Iterable[tuple[str, str]]
) -> Generator[tuple[str, str], None, str]:
    """Yield what is not in ``last``, and note it there; return why the stream is over."""
    for name, data in heard:
        if name == OVER:
            return data
        said = json.loads(data)
        key = said["tenant"], said["id"]
        if last.get(key) != (state := f"{name} {data}"):
            last[key] = state
            yield name, data
    raise ServerUnreachableError("the stream of events broke off")


def parse(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the data of each event in ``lines`` (HTML Living Standard, 9.2.6).

    Only what our node sends: one line of data, one name; everything else is passed over.
    """
    name = ""
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, value


def _show(console: Console, name: str, said: dict[str, Any]) -> None:
    cache = said.get("cache")
    how = foreign(name) if cache is None else Chips(_as_in_views(cache)).text(console)
    console.print(datetime.now(UTC).strftime("%H:%M:%S"), foreign(said["id"]), how)


def _as_in_views(cache: dict[str, Any]) -> dict[str, Any]:
    """Return the ``cache`` of an event in the words of a pipeline's own view."""
    filling = cache.get("filling")
    if not filling:
        return cache
    return cache | ({"next": filling} if cache["warm"] else filling)
