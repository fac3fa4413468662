"""Which generations pass through this node now, and when they stop to.

A generation that could not be kept is served for as long as a replica holds a lease on it. It
takes no room: neither the ledger nor the disk know of it. The next replica that asks for a
manifest has the node try afresh to keep the pipeline; only if that is refused again it joins.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from cache_protocol.errors import CacheError
from cache_server.catalogue.registry import Key
from cache_server.core.content import Content, ModelSpec
from cache_server.core.tenants import Terms
from cache_server.fill.passing import Bounds, PassingGeneration
from cache_server.ports import OpenOrigin, Origin
from cache_server.service.library import Library

GRACE = 120.0  # seconds that a generation stays without a reader; a lease lasts as long


@dataclass(slots=True)
class _Passing:
    generation: PassingGeneration
    asked: float  # monotonic seconds


class PassThrough:
    """All generations that pass through. Safe for threads."""

    def __init__(
        self,
        library: Library,
        open_origin: OpenOrigin,
        pulled: Callable[[int], None],
        monotonic: Callable[[], float],
    ) -> None:
        """Serve through ``library``; ``pulled`` is told the bytes that origins sent."""
        self._library = library
        self._open_origin = open_origin
        self._pulled = pulled
        self._monotonic = monotonic
        self._bounds = Bounds()
        self._lock = threading.Lock()
        self._passing: dict[str, _Passing] = {}

    @property
    def count(self) -> int:
        """How many generations there are."""
        return len(self._passing)

    @property
    def streams(self) -> int:
        """How many streams from origins run."""
        return self._bounds.turns.taken

    def serve(self, content: Content, refused: CacheError, terms: Terms) -> PassingGeneration:
        """Make ``content`` readable on ``terms``; ``refused`` is why it is not kept.

        Raises:
            OriginChangedError: it is not at its origin any more; this is said once, and the
                next call tries again.
            OriginDeniedError: it is not for its tenant, or no longer.
            MalformedError: a secret that it names is not configured any more.
        """
        with self._lock:
            known = self._passing.get(content.generation)
            if known is None:
                known = self._begin(content, refused, terms)
            elif known.generation.changed is not None:
                self._end(known)
                raise known.generation.changed
            known.asked = self._monotonic()
            known.generation.reason = _one_line(refused)
            self._library.add(known.generation)
        return known.generation

    def known(self, content: Content) -> PassingGeneration | None:
        """Return what passes through of ``content`` already, as long as it is at its origin."""
        with self._lock:
            known = self._passing.get(content.generation)
            if known is None or known.generation.changed is not None:
                return None
            known.asked = self._monotonic()
            return known.generation

    def end(self, key: Key) -> None:
        """Stop to serve what belongs to ``key``."""
        with self._lock:
            for passing in list(self._passing.values()):
                content = passing.generation.content
                if key == (content.tenant, content.pipeline):
                    self._end(passing)

    def end_idle(self, held: set[str]) -> None:
        """Stop to serve what nobody in ``held`` reads any more."""
        latest = self._monotonic() - GRACE
        with self._lock:
            for name, passing in list(self._passing.items()):
                if name not in held and passing.asked < latest and not passing.generation.streaming:
                    self._end(passing)

    def close(self) -> None:
        """Stop to serve everything."""
        with self._lock:
            for passing in list(self._passing.values()):
                self._end(passing)

    # With the lock held.

    def _begin(self, content: Content, refused: CacheError, terms: Terms) -> _Passing:
        origins: dict[str, Origin] = {}
        try:
            for model in content.models:
                spec = ModelSpec(model.name, model.source, credentials=model.credentials)
                origins[model.name] = self._open_origin(spec, terms)
        except CacheError:
            for origin in origins.values():
                origin.close()
            raise
        reason = _one_line(refused)
        generation = PassingGeneration(
            content, origins, self._bounds, reason=reason, pulled=self._pulled
        )
        begun = self._passing[generation.id] = _Passing(generation, self._monotonic())
        return begun

    def _end(self, passing: _Passing) -> None:
        del self._passing[passing.generation.id]
        self._library.discard(passing.generation)
        passing.generation.close()


def _one_line(error: CacheError) -> str:
    """Return the text of ``error`` as a field of a manifest may be: printable and short."""
    text = "".join(c if c.isprintable() else " " for c in str(error))
    return f"{error.code}: {text[:1000]}"
