"""A whole service over a directory and origins in memory, with a clock that the test turns."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import CacheError
from cache_protocol.manifest import Lease
from cache_server.catalogue.registry import Key, Registry
from cache_server.core.content import ModelSpec
from cache_server.core.standing import RULES, Rules
from cache_server.core.tenants import QuotasOf, no_quotas
from cache_server.ports import OpenOrigin
from cache_server.service.clocks import Clocks
from cache_server.service.service import Options, Service
from cache_server.service.slot import Slot, Work
from cache_server.store.generation import Generation
from cache_server.store.root import Root

LIMIT = 30.0  # seconds; nothing here takes one
SOURCE = "file:///m"
VOICE = Key("default", "voice")


def pattern(size: int, seed: int = 0) -> bytes:
    """Return bytes that differ from chunk to chunk, cheaply."""
    period = bytes((i * 7 + seed) % 251 for i in range(251))
    return (period * (size // 251 + 1))[:size]


def chunks(count: float, seed: int = 0) -> bytes:
    """Return ``count`` chunks of bytes."""
    return pattern(int(count * CHUNK_SIZE), seed)


class Clock:
    """All kinds of time, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.wall_ahead = timedelta()  # how wrong somebody has set the wall clock

    def advance(self, seconds: float) -> None:
        self.seconds += seconds

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds) + self.wall_ahead

    def monotonic(self) -> float:
        return self.seconds


class Bench:
    """A running service, and short ways to ask it things."""

    def __init__(self, service: Service, root: Root, clock: Clock) -> None:
        self.service, self.root, self.clock = service, root, clock

    def put(self, *models: ModelSpec, key: Key = VOICE) -> bool:
        return self.service.pipelines.put(key, models or (ModelSpec("m", SOURCE),), pinned=None)

    def slot(self, key: Key = VOICE) -> Slot:
        return self.service._inventory.slots[key]

    def resolved(self, key: Key = VOICE) -> None:
        """Return when no resolution runs, however it ended."""
        with self.service._lock:
            resolving = self.slot(key).resolving
        if resolving is not None:
            resolving.found.exception(LIMIT)

    def open(self, key: Key = VOICE) -> Generation:
        """Return the generation that a replica would be given."""
        return self.service.ensure(key).result(LIMIT)

    def grant(self, generation: Generation, key: Key = VOICE) -> Lease:
        return self.service.grant(key, generation)

    def settle(self, key: Key = VOICE) -> CacheError | None:
        """Return how the running attempt ended; None if well or if none runs."""
        with self.service._lock:
            work = self.slot(key).work
        return self._end_of(work)

    def _end_of(self, work: Work | None) -> CacheError | None:
        if work is None:
            return None
        error = work.done.exception(LIMIT)
        assert error is None or isinstance(error, CacheError), error
        return error

    def warm(self, key: Key = VOICE, *, refresh: bool = False) -> CacheError | None:
        """Warm a pipeline; return how that ended, None if well."""
        with self.service._lock:  # or it could be over before it is looked at
            self.service.warm(key, refresh=refresh)
            work = self.slot(key).work
        return self._end_of(work)

    def cache(self, key: Key = VOICE) -> dict:
        return self.service.figures.view(key)["cache"]

    def keep_house(self) -> None:
        """Do one round of housekeeping now."""
        self.service._departures.give_up_unheld(self.service.leases.held())

    def reconciled(self) -> None:
        """Return when the look at the disk is over."""
        assert self.service._filling.reconciled.wait(LIMIT)

    @property
    def pulled(self) -> int:
        return self.service.figures.status()["origin_bytes"]

    def read(self, path: str, generation: Generation, *, model: str = "m") -> bytes:
        """Return a whole file as a replica reads it: what is present, again and again."""
        file = self.service.library.find(generation.id, model, path)
        fd = file.open()
        try:
            data = b""
            while len(data) < file.size:
                end = file.present_until(len(data), LIMIT)
                with open(fd, "rb", closefd=False) as opened:
                    opened.seek(len(data))
                    data += opened.read(end - len(data))
        finally:
            os.close(fd)
        return data

    def on_disk(self) -> list[str]:
        """Return every generation directory below ROOT, the trash included."""
        slots = [p.name for p in self.root.slots.glob("*/*/*")]
        return sorted(slots) + sorted(p.name for p in self.root.trash.glob("*"))


@contextmanager
def running_service(
    directory: Path,
    origins: OpenOrigin,
    *,
    capacity: int = 2**40,
    clock: Clock | None = None,
    start: bool = True,
    quotas: QuotasOf = no_quotas,
    access: Rules = RULES,
) -> Iterator[Bench]:
    """Run a service on ``directory``; at the end it is closed and no thread of it is left."""
    before = set(threading.enumerate())
    root, clock = Root(directory), clock or Clock()
    registry = Registry(f"sqlite:///{directory}/catalogue.db")
    options = Options(capacity, timedelta(hours=48), "test", quotas=quotas, access=access)
    clocks = Clocks(clock.now, clock.monotonic, clock.monotonic)
    service = Service(root, registry, origins, options, clocks)
    if start:
        service.start()
    try:
        yield Bench(service, root, clock)
    finally:
        service.close()
        root.close()
        left = [t for t in set(threading.enumerate()) - before if t.name.startswith("fill ")]
        assert not left, left
