"""``GET /v1/events``: how pipelines stand, said again whenever that has changed."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from cache_server.catalogue.registry import Key
from cache_server.http.access import Caller, Viewer
from cache_server.http.recent import Recent
from cache_server.http.streams import Event, Streams
from cache_server.service.glance import Glance
from cache_server.service.views import stamp


def event_routes(streams: Streams, recent: Recent[str, list[Glance]]) -> APIRouter:
    """Return the route. Not in the description of the API: that has no word for a stream."""
    router = APIRouter(prefix="/v1", include_in_schema=False)

    @router.get("/events")
    async def events(caller: Viewer) -> StreamingResponse:
        """Say how each pipeline stands, then each that has changed, and each that is gone."""
        return streams.open(caller.identity, watch(caller, recent.of))

    return router


def watch(caller: Caller, look: Callable[[str], Iterable[Glance]]) -> Callable[[], list[Event]]:
    """Return a look that sees what has changed since the one before."""
    seen: dict[Key, str] = {}

    def changes() -> list[Event]:
        now = {g.key: json.dumps(view(g)) for g in look(caller.tenant) if caller.reaches(g.key)}
        events = list(_events(seen, now))
        seen.clear()
        seen.update(now)
        return events

    return changes


def view(glance: Glance) -> dict[str, Any]:
    """Return ``glance`` in the contract's words."""
    fill, error = glance.fill, glance.error
    cache = {
        "state": glance.state.value,
        "warm": glance.warm,
        "pinned": glance.pinned,
        "hot": glance.hot,
        "hot_until": stamp(glance.hot_until),
        "size": glance.size,
        "last_request": stamp(glance.asked),
        "readers": glance.readers,
        "filling": None if fill is None else {"size": fill.size, "filled": fill.filled},
        **({"eta": stamp(fill.ends)} if fill is not None and fill.ends is not None else {}),
        **({"last_error": error.view()} if error is not None else {}),
    }
    return {"id": glance.key.id, "tenant": glance.key.tenant, "cache": cache}


def _events(before: dict[Key, str], now: dict[Key, str]) -> Iterator[Event]:
    for key, data in now.items():
        if before.get(key) != data:
            yield Event("pipeline", data)
    for key in before.keys() - now.keys():
        yield Event("removed", json.dumps({"id": key.id, "tenant": key.tenant}))
