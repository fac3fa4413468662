"""The node as a whole: whether it is well, its room, and what replicas asked for."""

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import Metric

from cache_server.core.counted import Found, Leaving
from cache_server.core.slots import SlotState
from cache_server.metrics.families import by_word, counters, gauge, gauges
from cache_server.metrics.origins import origin_families
from cache_server.service.glance import Glance
from cache_server.service.service import Service


def node_families(service: Service, glances: Sequence[Glance]) -> Iterator[Metric]:
    """Return everything about the node but its data plane and its pipelines."""
    status = service.figures.status()
    yield from _state(service, status)
    yield from _room(status, glances)
    yield from _asked(service)
    yield from origin_families(service.counters, status)


def _state(service: Service, status: Mapping[str, Any]) -> Iterator[Metric]:
    version = importlib.metadata.version("warmline")
    yield gauges(
        "node_info", "The node.", ("version", "region"), [((version, status["region"]), 1)]
    )
    yield gauge("ready", "Whether new work should be sent here.", service.unready is None)
    yield gauge("disk_sick", "Whether the disk fails or hangs.", status["disk_sick"] is not None)
    yield gauges(
        "pipelines",
        "Registered pipelines by state.",
        ("state",),
        by_word(SlotState, status["pipelines"]),
    )


def _room(status: Mapping[str, Any], glances: Sequence[Glance]) -> Iterator[Metric]:
    yield gauge("capacity_bytes", "Room for slots.", status["capacity"])
    yield gauge("used_bytes", "Room that is booked, fills included.", status["used"])
    yield gauge(
        "reserved_bytes",
        "Part of the used room that is booked for what is not whole.",
        sum(map(_reserved, glances)),
    )
    yield gauge(
        "evictable_bytes",
        "Part of the used room that the policy would give up now if a fill needed it.",
        sum(each.booked for each in glances if _may_go(each)),
    )
    yield gauge("free_bytes", "Room that is not booked.", status["free"])
    yield gauge("disk_free_bytes", "What the file system has left.", status["disk_free"])


def _reserved(glance: Glance) -> int:
    if not glance.warm:
        return glance.booked
    # A newer generation beside one that is whole.
    return 0 if glance.fill is None else glance.fill.size or 0


def _may_go(glance: Glance) -> bool:
    held = glance.hot or glance.pinned or glance.readers or glance.fill is not None
    return not held and glance.state is not SlotState.EVICTING


def _asked(service: Service) -> Iterator[Metric]:
    counts = service.counters
    found = {**counts.found, Found.HIT: counts.found[Found.HIT] + counts.hits}
    yield counters(
        "manifests",
        "Manifests that replicas asked for: hit (warm), miss (a fill began), joined (one ran). "
        "What passes through was a miss or joined before.",
        ("result",),
        by_word(Found, found),
    )
    yield gauge("leases", "Holds of replicas on content.", service.leases.count)
    yield counters(
        "evictions",
        "Slots whose content was given up.",
        ("reason",),
        by_word(Leaving, counts.evictions),
    )
    yield counters(
        "evicted_bytes", "Room that evictions freed.", ("reason",), by_word(Leaving, counts.evicted)
    )
