"""The node: its room and who holds it, who would go next, its disk, its fills, its traffic."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cache_server.core.access import Right
from cache_server.dashboard.parts import Part
from cache_server.dashboard.render import Templates
from cache_server.dashboard.space import share_out
from cache_server.dashboard.throughput import Counts, Throughput
from cache_server.http.access import Caller
from cache_server.service.glance import Glance
from cache_server.service.service import Service

VICTIMS = 20  # of a plan, that a page shows
BEYOND = 2**62  # bytes: what no node has


@dataclass(frozen=True, slots=True)
class NodePage:
    """Shows the node."""

    service: Service
    templates: Templates
    now: Callable[[], datetime]  # UTC
    monotonic: Callable[[], float]  # seconds
    served: Callable[[], int]  # bytes that replicas have taken since the start
    throughput: Throughput

    def parts(self, caller: Caller, glances: Iterable[Glance], need: int | None) -> list[Part]:
        """Return the parts of the page; with ``need``, also who would go for so many bytes."""
        mine = [g for g in glances if caller.reaches(g.key)]
        status = self.service.figures.status()
        parts = [
            self._part("room", _room(status, mine)),
            self._part("traffic", self._traffic(status)),
            self._part("fills", {"fills": [g for g in mine if g.fill], "now": self.now()}),
            self._part("disk", {"status": status}),
        ]
        if caller.identity.may(Right.OPERATE):
            parts.append(self._part("plan", self._plan(need)))
        return parts

    def _traffic(self, status: Mapping[str, Any]) -> dict[str, Any]:
        counts = Counts(self.monotonic(), status["origin_bytes"], self.served())
        return {"status": status, "speeds": self.throughput.look(counts), "counts": counts}

    def _plan(self, need: int | None) -> dict[str, Any]:
        plan = self.service.removal.plan(self._all_that_may_go() if need is None else need)
        return {"plan": plan, "need": need, "most": VICTIMS}

    def _all_that_may_go(self) -> int:
        """Return the bytes of a fill for which everybody would go who may."""
        return BEYOND - int(self.service.removal.plan(BEYOND)["shortfall"])

    def _part(self, name: str, context: Mapping[str, Any]) -> Part:
        return Part(name, self.templates.render(f"parts/{name}.html", context))


def _room(status: Mapping[str, Any], glances: list[Glance]) -> dict[str, Any]:
    space = share_out(glances, capacity=status["capacity"], used=status["used"])
    return {"status": status, "space": space}
