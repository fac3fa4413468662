"""One pipeline: how it stands, what it is made of, how its replicas started, what went wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cache_protocol.errors import Retry
from cache_server.catalogue.boots import Boots
from cache_server.catalogue.registry import Key
from cache_server.core.access import Right
from cache_server.core.boot_stats import Report, summarise
from cache_server.dashboard.advice import advice
from cache_server.dashboard.boot_bars import (
    PHASES,
    axis,
    beyond,
    distribution,
    longest,
    pieces,
    ticks,
)
from cache_server.dashboard.parts import Part
from cache_server.dashboard.render import Templates
from cache_server.http.access import Caller
from cache_server.service.glance import Glance
from cache_server.service.service import Service

FILES = 200  # of one model, that a page shows; the API has them all
BARS = 25  # boots that have a bar of their own
BOOTS = 200  # that the distribution and the figures speak of
TROUBLES = 5  # boots that went wrong, shown with their reason
# What a view leaves out where there is nothing to say.
_UNSAID: dict[str, Any] = {
    "resolved": None,
    "include": [],
    "exclude": [],
    "credentials": None,
    "left_out": [],
}


@dataclass(frozen=True, slots=True)
class PipelinePage:
    """Shows one pipeline."""

    service: Service
    boots: Boots
    templates: Templates
    now: Callable[[], datetime]  # UTC

    def parts(self, caller: Caller, key: Key) -> list[Part]:
        """Return the parts of the page of ``key``.

        Raises:
            UnknownPipelineError: there is none.
        """
        glance, view = self.service.figures.glance(key), self.service.figures.view(key)
        reports = self.boots.last(key.tenant, {key.id}, BOOTS)
        return [
            self._part("standing", self._standing(caller, glance)),
            self._part("trouble", {"p": glance, **_troubles(glance, reports)}),
            self._part("models", {"p": glance, "models": _models(view), "most": FILES}),
            self._part("boots", _boots(reports)),
        ]

    def _standing(self, caller: Caller, glance: Glance) -> Mapping[str, Any]:
        may = caller.identity.may(Right.CHANGE)
        return {"p": glance, "now": self.now(), "may_change": may}

    def _part(self, name: str, context: Mapping[str, Any]) -> Part:
        return Part(name, self.templates.render(f"parts/{name}.html", context))


def _models(view: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the models of ``view``, each with what its files are together."""
    return [_UNSAID | model | _whole(model.get("files", [])) for model in view["models"]]


def _whole(files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    # What is still on its way first: that is what somebody who opens the list wants to see.
    on_the_way = sorted(files, key=lambda f: (f["verified"], f["filled"] == f["size"]))
    return {
        "files": on_the_way[:FILES],
        "file_count": len(files),
        "size": sum(f["size"] for f in files),
        "filled": sum(f["filled"] for f in files),
    }


def _troubles(glance: Glance, reports: Sequence[Report]) -> dict[str, Any]:
    """Return what went wrong last, and what to do about it."""
    failed = [r for r in reports if not r["ok"] or (r["source"] == "origin" and r.get("reason"))]
    error = glance.error
    return {
        "error": error,
        "advice": None if error is None else advice(error.error.code, Retry(error.error.retry)),
        "failed": failed[:TROUBLES],
    }


def _boots(reports: Sequence[Report]) -> dict[str, Any]:
    drawn = reports[:BARS]
    length = longest(drawn)
    bins = distribution(reports)
    return {
        "reports": [(report, pieces(report, length)) for report in drawn],
        "ticks": ticks(length),
        "phases": [name for name in PHASES if any(_has(report, name) for report in drawn)],
        "bins": bins,
        "bin_ticks": axis(bins) if bins else [],
        "beyond": beyond(bins) if bins else None,
        "stats": summarise(reports),
        "count_all": len(reports),
        "most": BOOTS,
    }


def _has(report: Report, phase: str) -> bool:
    return any(each["name"] == phase for each in report["phases"])
