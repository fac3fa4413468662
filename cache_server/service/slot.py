"""What the node knows of one pipeline while it runs. Guarded by the service's lock."""

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cache_protocol.errors import CacheError
from cache_server.catalogue.registry import Registration
from cache_server.core.content import Content
from cache_server.core.recency import Moment
from cache_server.core.slots import SlotEvent, SlotState, advance
from cache_server.store.generation import Generation

if TYPE_CHECKING:
    from cache_server.fill.fill import Fill


@dataclass(slots=True)
class LastError:
    """Why the last attempt failed."""

    error: CacheError
    at: datetime  # UTC

    def view(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "code": self.error.code,
            "detail": str(self.error),
            "retry": self.error.retry.value,
            "at": self.at.isoformat().replace("+00:00", "Z"),
        }


class Resolution:
    """One question to the origins: what is a slot made of? Whoever asks meanwhile shares it."""

    def __init__(self) -> None:
        self.found = _shared_future()
        self.stopped = threading.Event()

    def stop(self) -> None:
        """Make the question end soon, with or without an answer."""
        self.stopped.set()


class Work:
    """One attempt to make a slot whole. Whoever asks meanwhile shares it."""

    def __init__(self, *, refresh: bool) -> None:
        self.refresh = refresh  # resolve moving revisions again
        self.opened = _shared_future()  # names and sizes are known
        self.done: Future[None] = Future()  # whole and published, or failed
        self.stopped = threading.Event()
        self.generation: Generation | None = None
        self.fill: Fill | None = None
        self.began_at = 0.0  # monotonic seconds; with ``began_with`` it gives the speed
        self.began_with = 0  # bytes that were there

    def stop(self) -> None:
        """Make the attempt end soon."""
        self.stopped.set()
        if self.fill is not None:
            self.fill.stop()


@dataclass(slots=True)
class Slot:
    """One pipeline's own room in the cache."""

    registration: Registration
    state: SlotState = SlotState.COLD
    current: Generation | None = None  # published: what replicas are given
    target: Generation | None = None  # resolved: what a fill brings; ``current`` when up to date
    content: Content | None = None  # what was to be kept last, also where there was no room for it
    work: Work | None = None
    resolving: Resolution | None = None
    last_error: LastError | None = None
    repaired: int = 0  # chunks, since the start of the node
    scrubbed: datetime | None = None  # UTC, end of the last pass over all of it, since the start
    asked: Moment | None = None  # the last request
    loaded: bool = False  # whether the disk has been looked at
    leaving: bool = False  # it is being removed, not just evicted
    replaces: "Slot | None" = None  # that of the same pipeline with other models
    over: threading.Event = field(default_factory=threading.Event)  # removed, or replaced

    @property
    def named(self) -> dict[str, str]:
        """Whose it is, as fields of a line of the log."""
        key = self.registration.key
        return {"tenant": key.tenant, "pipeline": key.id}

    def happens(self, event: SlotEvent) -> None:
        """Move on to the state after ``event``."""
        self.state = advance(self.state, event)


def end_work(slot: Slot, lock: "threading.RLock") -> None:
    """Stop what runs for ``slot`` and wait until it is over. Without ``lock``, the service's."""
    with lock:
        work, resolving = slot.work, slot.resolving
        for each in (work, resolving):
            if each is not None:
                each.stop()
    if work is not None:
        work.done.exception()  # how it ended does not matter, only that it did
    if resolving is not None:
        resolving.found.exception()


def _shared_future() -> "Future[Generation]":
    """Return a future that no single waiter can cancel: others wait for it too."""
    future: Future[Generation] = Future()
    future.set_running_or_notify_cancel()
    return future
