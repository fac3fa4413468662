"""Asks now and then whether what is kept of private and gated repositories may still be read.

In a thread of its own, so that no request waits for a hub: who reads gets the last answer. What a
hub refuses is withheld from everybody at once, agents and doors alike: its leases end, the data
plane knows it no more, and who asks is told why. Its bytes stay on the disk, as any cold slot's:
a hub that takes its no back must not cost the region a pull. See ``core.standing``.

Readers that are in the middle of an answer get the rest of it. What everybody could read when it
was pulled is never asked about.
"""

import logging
import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from cache_protocol.errors import (
    CacheError,
    DiskError,
    OriginDeniedError,
    OriginError,
    OriginNotFoundError,
)
from cache_server.core.content import ModelSpec
from cache_server.core.standing import Rules, Standing
from cache_server.core.tenants import Terms
from cache_server.ports import OpenOrigin
from cache_server.service.clocks import Clocks
from cache_server.service.inventory import Inventory
from cache_server.service.leases import Leases
from cache_server.service.library import Readable
from cache_server.service.slot import LastError, Slot
from cache_server.store.generation import Generation

log = logging.getLogger(__name__)

TICK = 5.0  # seconds between two looks whether somebody is due
_NO = (OriginDeniedError, OriginNotFoundError)  # hubs deny that what is private is there
LAST_WAIT = 1.0  # seconds that the end of the node waits for a question that is under way


class _Question(NamedTuple):
    """What is asked once a round, however many pipelines wait for the answer."""

    source: str
    credentials: str | None
    terms: Terms


class AccessWatch:
    """Asks, and says what is withheld. Safe for threads; ``refusal`` takes no lock."""

    def __init__(  # noqa: PLR0913 - all by name
        self,
        *,
        lock: "threading.RLock",
        inventory: Inventory,
        open_origin: OpenOrigin,
        leases: Leases,
        clocks: Clocks,
        rules: Rules,
    ) -> None:
        """Take the parts; ``start`` begins to ask.

        Args:
            lock: the service's.
            inventory: all pipelines.
            open_origin: whom to ask.
            leases: of readers, which end with the access.
            clocks: for ages.
            rules: how often, and how old a yes may become.
        """
        self._lock = lock
        self._inventory = inventory
        self._open_origin = open_origin
        self._leases = leases
        self._clocks = clocks
        self._rules = rules
        self._asked: dict[str, float] = {}  # monotonic seconds, by generation
        self._withheld: set[str] = set()  # generations whose readers have been told
        self._asking = threading.Lock()  # one round at a time
        self._closing = threading.Event()
        # Daemon: a hub that is silent for 20 s must not hold up the end of the node.
        self._thread = threading.Thread(target=self._run, name="access-watch", daemon=True)

    def start(self) -> None:
        """Begin, with what became due while no node ran."""
        self._thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(LAST_WAIT)

    def refusal(self, generation: Readable) -> OriginError | None:
        """Return why ``generation`` is not handed out now; None where it is."""
        if not isinstance(generation, Generation) or not generation.restricted:
            return None
        what = generation.content.pipeline
        return generation.standing.refusal(what, self._clocks.now(), self._rules)

    def check(self, generation: Readable) -> None:
        """Raise what ``refusal`` returns."""
        if (refused := self.refusal(generation)) is not None:
            raise refused

    def round(self) -> None:
        """Ask about everything that is due, and act on what was said and on what grew too old."""
        answers: dict[_Question, CacheError | None] = {}
        with self._asking:
            for slot, generation in self._restricted():
                if self._closing.is_set():
                    return
                if self._is_due(generation):
                    questions = _questions(slot, generation)
                    answers |= {q: self._ask(q) for q in questions if q not in answers}
                    self._take(slot, generation, [answers[q] for q in questions])
                self._enforce(slot, generation)

    def _run(self) -> None:
        tick = min(TICK, self._rules.every.total_seconds())
        while not self._closing.wait(tick):
            try:
                self.round()
            except (CacheError, OSError) as error:  # of one round; the watch goes on
                log.warning("whether kept repositories may still be read: %s", error)

    def _restricted(self) -> list[tuple[Slot, Generation]]:
        with self._lock:
            slots = self._inventory.slots.values()
            restricted = [(s, s.current) for s in slots if s.current and s.current.restricted]
        alive = {generation.id for _, generation in restricted}
        self._asked = {name: at for name, at in self._asked.items() if name in alive}
        self._withheld &= alive
        return restricted

    def _is_due(self, generation: Generation) -> bool:
        asked = self._asked.get(generation.id)
        ago = None if asked is None else timedelta(seconds=self._clocks.monotonic() - asked)
        return generation.standing.is_due(self._clocks.now(), ago, self._rules)

    def _ask(self, question: _Question) -> CacheError | None:
        """Return what the origin says against it; None: it consents."""
        spec = ModelSpec("access", question.source, credentials=question.credentials)
        try:
            origin = self._open_origin(spec, question.terms)
        except CacheError as error:
            # It was not asked: a source that was taken off a list, a secret that is missing. That
            # is no word of the hub, so what is warm stays, as long as an old yes lets it.
            return CacheError(f"{question.source} was not asked: {error}")
        try:
            origin.check_access()
        except CacheError as error:
            return error
        finally:
            origin.close()
        return None

    def _take(
        self, slot: Slot, generation: Generation, answers: Iterable[CacheError | None]
    ) -> None:
        """Note what was answered about ``generation``; one no is enough."""
        self._asked[generation.id] = self._clocks.monotonic()
        against = [error for error in answers if error is not None]
        no = next((error for error in against if isinstance(error, _NO)), None)
        if against and no is None:
            log.info("%s: whether it may still be read is not known: %s", _id(slot), against[0])
            return
        if no is None:
            generation.standing = Standing(self._clocks.now())
        else:
            generation.standing = replace(generation.standing, denied=str(no))
        if not self._closing.is_set():
            self._keep(slot, generation)

    def _enforce(self, slot: Slot, generation: Generation) -> None:
        refused, known = self.refusal(generation), generation.id in self._withheld
        if refused is None and not known:
            return
        with self._lock:
            slot.last_error = self._last_error(slot.last_error if known else None, refused)
        if refused is None:
            self._withheld.discard(generation.id)
            log.warning("%s may be read again", _id(slot), extra=slot.named)
        elif not known:
            self._withheld.add(generation.id)
            self._leases.end(slot.registration.key)
            facts = {**slot.named, "code": refused.code}
            log.warning("%s is withheld: %s", _id(slot), refused, extra=facts)

    def _last_error(self, said: LastError | None, refused: OriginError | None) -> LastError | None:
        """Return what is to be said now: as before, where that was said, for the sake of "at"."""
        if refused is None:
            return None
        if said is not None and said.error.code == refused.code:
            return said
        return LastError(refused, self._clocks.now())

    def _keep(self, slot: Slot, generation: Generation) -> None:
        try:
            generation.keep_standing()
        except DiskError as error:
            log.warning("%s: who may read it is not written down: %s", _id(slot), error)


def _questions(slot: Slot, generation: Generation) -> list[_Question]:
    """Return what has to be asked for ``generation``: its restricted repositories."""
    terms = slot.registration.terms
    return [
        _Question(model.source, model.credentials, terms)
        for model in generation.content.models
        if model.may_be_restricted
    ]


def _id(slot: Slot) -> str:
    return slot.registration.key.id
