"""The list: a card for each pipeline, with a line about the node above them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from cache_server.catalogue.boots import Boots
from cache_server.catalogue.registry import Key
from cache_server.core.boot_stats import Report
from cache_server.dashboard.listing import Listing, Only, Query, Sort, select
from cache_server.dashboard.parts import Part
from cache_server.dashboard.render import Templates, anchor
from cache_server.http.access import Caller
from cache_server.service.glance import Glance
from cache_server.service.service import Service


@dataclass(frozen=True, slots=True)
class ListPage:
    """Shows pipelines."""

    service: Service
    boots: Boots
    templates: Templates
    now: Callable[[], datetime]  # UTC

    def parts(self, caller: Caller, glances: Iterable[Glance], query: Query) -> list[Part]:
        """Return the parts of the page of ``glances`` that ``query`` asks for."""
        listing = select((g for g in glances if caller.reaches(g.key)), query)
        cards = self._cards(caller, listing)
        return [self._summary(listing, query), self._frame(cards, listing, query), *cards]

    def _summary(self, listing: Listing, query: Query) -> Part:
        context = {
            "status": self.service.figures.status(),
            "counts": listing.counts,
            "query": query,
            "filters": list(Only),
        }
        return Part("summary", self.templates.render("parts/summary.html", context))

    def _frame(self, cards: list[Part], listing: Listing, query: Query) -> Part:
        context = {
            "cards": [card.html for card in cards],
            "listing": listing,
            "query": query,
            "sorts": list(Sort),
        }
        html = self.templates.render("parts/cards.html", context)
        order = " ".join(card.id for card in cards)
        return Part("cards", html, mark=f"{listing.page}/{listing.pages}/{listing.found} {order}")

    def _cards(self, caller: Caller, listing: Listing) -> list[Part]:
        starts = self._last_starts(caller, listing)
        now = self.now()
        return [
            Part(
                anchor("card", glance.key),
                self.templates.render(
                    "parts/card.html",
                    {"p": glance, "start": starts.get(glance.key), "now": now},
                ),
                within="cards",
            )
            for glance in listing.shown
        ]

    def _last_starts(self, caller: Caller, listing: Listing) -> dict[Key, Report]:
        names = {glance.key.id for glance in listing.shown}
        found = self.boots.last_of_each(caller.tenant, names, 1)
        return {Key(report["tenant"], report["pipeline"]): report for report in found}
