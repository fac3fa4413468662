"""What there is to read, as the door sees it: buckets, names, and content held for a reader.

The one place of this door that knows the service. A look at names starts no fill, so that who
looks at every bucket does not pull every pipeline; reading an object does.
"""

import threading
from collections import OrderedDict
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from datetime import datetime  # noqa: TC003 - names what is stored
from typing import Protocol

from cache_server.catalogue.registry import Key
from cache_server.doors.s3.catalogue import UNDATED, Catalogue, catalogue_of
from cache_server.doors.s3.waits import Waits
from cache_server.doors.shelf import Shelf
from cache_server.http.opening import NOT_KEPT, late
from cache_server.service.library import Readable
from cache_server.store.generation import Generation

PATIENCE = 20.0  # seconds for the names of a cold slot; S3's clients give up after 60
# Requests that may wait for origins at once: a quarter of the data plane's threads, so that silent
# origins leave most of them to pipelines that are warm.
WAITS = 256
GENERATIONS = 64  # whose catalogues are remembered
OBJECTS = 300_000  # of all of them; 10 000 take 3 MB, and 30 ms to list


class Stock(Protocol):
    """All pipelines of a node. Safe for threads."""

    def buckets(self, tenant: str) -> list[str]:
        """Return the pipelines of ``tenant`` by id."""
        ...

    def check(self, key: Key) -> None:
        """Return if ``key`` is registered, asking no origin; UnknownPipelineError if it is not."""
        ...

    def names(self, who: str, key: Key) -> Readable:
        """Return something that says what ``key`` consists of, for the token ``who``.

        Asks its origin where nobody knows; what it returns need not have a byte.

        Raises:
            CacheError: there is no such pipeline, or nobody knows; BusyError: not yet.
        """
        ...

    def open(self, who: str, key: Key) -> Readable:
        """Return what is to be read of ``key``, and hold it for ``who``; a cold slot fills.

        Raises:
            CacheError: nothing is.
        """
        ...


class NodeStock:
    """See ``Stock``."""

    def __init__(self, shelf: Shelf, patience: float = PATIENCE, waits: int = WAITS) -> None:
        """Look at ``shelf``; wait ``patience`` seconds, at most ``waits`` requests at once."""
        self._shelf = shelf
        self._service = shelf.service
        self._patience = patience
        self._waits = Waits(waits)

    def buckets(self, tenant: str) -> list[str]:
        """Return the pipelines of ``tenant`` by id."""
        return self._service.figures.ids(tenant)

    def check(self, key: Key) -> None:
        """Return if ``key`` is registered; see ``Stock``."""
        self._service.figures.check(key)

    def names(self, who: str, key: Key) -> Readable:
        """Return something that says what ``key`` consists of; see ``Stock``."""
        found = self._service.contents.names(key)
        if not isinstance(found, Future):
            return found
        try:
            with self._waits.place(key.tenant):
                return found.result(self._patience)
        except LateError as error:
            raise late(key, self._patience) from error
        except NOT_KEPT:
            return self.open(who, key)  # what cannot be written down may still pass through

    def open(self, who: str, key: Key) -> Readable:
        """Return what is to be read of ``key``; see ``Stock``."""
        if self._service.contents.at_hand(key) is not None:
            return self._shelf.wait(who, key, self._patience)  # it will not
        with self._waits.place(key.tenant):
            return self._shelf.wait(who, key, self._patience)


class Catalogues:
    """Those of the generations that were looked at last. Safe for threads."""

    def __init__(self, limit: int = GENERATIONS, objects: int = OBJECTS) -> None:
        """Remember ``limit`` of them, with ``objects`` in all; of the latest one all it has."""
        self._limit = limit
        self._objects = objects
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, datetime], Catalogue] = OrderedDict()

    def of(self, generation: Readable) -> Catalogue:
        """Return the objects of ``generation``."""
        since = generation.resolved if isinstance(generation, Generation) else UNDATED
        name = generation.id, since
        with self._lock:
            known = self._known.get(name)
            if known is not None:
                self._known.move_to_end(name)
                return known
        made = catalogue_of(generation.id, generation.content, since)  # twice does no harm
        with self._lock:
            self._known[name] = made
            while len(self._known) > 1 and self._too_many():
                self._known.popitem(last=False)
        return made

    def _too_many(self) -> bool:
        objects = sum(len(c.objects) + len(c.left_out) for c in self._known.values())
        return len(self._known) > self._limit or objects > self._objects
