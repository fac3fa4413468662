"""Glances at pipelines that no node has, for what only shows them."""

from datetime import UTC, datetime

from cache_protocol.errors import CacheError
from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec
from cache_server.core.slots import SlotState
from cache_server.service.glance import Fill, Glance
from cache_server.service.slot import LastError
from tests.fakes.boot_reports import boot_report

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def glance(name: str = "voice", state: SlotState = SlotState.COLD, **fields) -> Glance:
    """Return one that stands as ``fields`` say; otherwise nobody ever asked for it."""
    plain = {
        "models": (ModelSpec("m", "hf://org/name"),),
        "looked_at": True,
        "warm": state is SlotState.WARM,
        "pinned": False,
        "hot": False,
        "hot_until": None,
        "asked": None,
        "size": None,
        "booked": 0,
        "readers": 0,
        "fill": None,
        "error": None,
    }
    key = Key(fields.pop("tenant", "default"), name)
    return Glance(key=key, state=state, **(plain | fields))


def filling(filled: int, size: int | None = 1000, ends: datetime | None = None) -> Fill:
    return Fill(size, filled, ends)


def failed(error: CacheError) -> LastError:
    return LastError(error, NOW)


def report(time: float = 10.0, **fields):
    """Return a boot report as a node keeps it; ``phases`` as ``{name: (start, seconds)}``."""
    return boot_report(time, **({"region": "test", "started": "2030-01-02T03:04:05.000Z"} | fields))
