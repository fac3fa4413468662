"""A slow walk over every byte of every warm slot: what rots is found before a replica needs it.

    ask ──> passes, in order ──> chunk by chunk: disk against digest table ──> repair from origin
               └── ROOT/scrub.json: where the walk is, so that a restart goes on there

One thread, one chunk at a time, at a limited speed; it reads past the page cache, so that it sees
the disk itself and pushes nobody's weights out of memory. It takes no lease: what is evicted
meanwhile is passed over. Whatever a reader could not read is looked at first (``suspect``).
"""

import json
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from cache_protocol.digests import chunk_span
from cache_protocol.errors import CacheError, DiskError
from cache_server.catalogue.registry import Key
from cache_server.core.access import DEFAULT_TENANT
from cache_server.core.pace import Pace
from cache_server.core.scrub_plan import (
    Pass,
    Place,
    beyond,
    dump_passes,
    following,
    load_passes,
)
from cache_server.service.slot import Slot
from cache_server.store.durable import write_json
from cache_server.store.generation import Generation
from cache_server.store.stored_file import StoredFile

log = logging.getLogger(__name__)

NOTE_EVERY = 5.0  # seconds between two notes of the place; a crash repeats so much of the walk
MAX_SUSPECTS = 1000  # waiting; a disk that fails everywhere is not healed chunk by chunk
WAIT = 3600.0  # seconds between two looks around when there is nothing to do


class Target(NamedTuple):
    """A slot that is whole, as the walk sees it."""

    slot: Slot
    generation: Generation

    @property
    def pipeline(self) -> str:
        """The name of its pipeline."""
        return scrub_name(self.slot.registration.key)

    @property
    def whole(self) -> bool:
        """Whether it is still what its slot serves."""
        return self.slot.current is self.generation and self.generation.published


class Suspect(NamedTuple):
    """A chunk that somebody could not read."""

    generation: Generation
    file: StoredFile
    chunk: int


class Scrub:
    """Runs passes, one after the other, in a thread of its own."""

    def __init__(
        self,
        record: Path,
        targets: Callable[[], Iterable[Target]],
        *,
        rate: int,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        """Prepare; ``record`` is where the place is noted, ``rate`` is in bytes per second."""
        self._record = record
        self._targets = targets
        self._now = now
        self._monotonic = monotonic
        self._pace = Pace(rate)
        self._passes: deque[Pass] = deque()  # the first one runs
        self._suspects: deque[Suspect] = deque()
        self._last: tuple[Pass, datetime] | None = None  # that ended, and when
        self._changed = threading.Condition()  # guards the four above
        self._ending = False
        self._present: Target | None = None  # that of the last step
        self._noted_at = 0.0  # monotonic seconds
        self._thread = threading.Thread(target=self._run, name="scrub")

    def start(self) -> None:
        """Begin; a pass that was interrupted goes on where it was."""
        self._passes.extend(self._read_record())
        self._thread.start()

    def close(self) -> None:
        """End the walk; its place is noted."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def ask(self, pipeline: str | None) -> dict[str, Any]:
        """Have ``pipeline`` looked at, None: all; a pass that waits or runs already is joined."""
        with self._changed:
            if not any(each.covers(pipeline) for each in self._passes):
                self._passes.append(Pass(pipeline))
                self._changed.notify_all()
            return self.view()

    def suspect(self, generation: Generation, file: StoredFile, chunk: int) -> None:
        """Have one chunk looked at before all else; never waits."""
        suspect = Suspect(generation, file, chunk)
        with self._changed:
            if suspect not in self._suspects and len(self._suspects) < MAX_SUSPECTS:
                self._suspects.append(suspect)
                self._changed.notify_all()

    def view(self) -> dict[str, Any]:
        """Return where the walk is, what waits, and how the last pass ended."""
        with self._changed:
            view: dict[str, Any] = {"running": bool(self._passes)}
            if self._passes:
                view |= self._passes[0].view()
                view["waiting"] = [each.pipeline for each in list(self._passes)[1:]]
            if self._last is not None:
                last, ended = self._last
                view["last"] = last.view() | {"ended": ended.isoformat().replace("+00:00", "Z")}
            return view

    # The walk, in its thread.

    def _run(self) -> None:
        while self._wait_for_work():
            try:
                self._step()
            except (
                CacheError,
                OSError,
            ) as error:  # of the record, or of a suspect: the walk goes on
                log.warning("scrub: %s", error)
        if self._passes:
            self._note()

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not self._ending and not self._passes and not self._suspects:
                self._changed.wait(WAIT)
            return not self._ending

    def _step(self) -> None:
        with self._changed:
            suspect = self._suspects.popleft() if self._suspects else None
            walk = self._passes[0] if self._passes else None
        if suspect is not None:
            _look(*suspect)
        elif walk is not None:
            target = self._target(walk)
            if target is None:
                self._finish(walk)
            else:
                self._set(self._walk(walk, target))

    def _target(self, walk: Pass) -> Target | None:
        """Return what the pass looks at next; None at its end."""
        present = self._present
        if present is None or present.generation.id != walk.place.generation or not present.whole:
            found = {t.generation.id: t for t in self._targets() if walk.covers(t.pipeline)}
            present = self._present = found.get(following(found, walk.place) or "")
        return present

    def _walk(self, walk: Pass, target: Target) -> Pass:
        """Look at one chunk of ``target`` and return the pass after it."""
        generation, place = target.generation, walk.place
        if place.generation != generation.id:
            place = Place(generation.id)
        if place.file == len(generation.files):
            target.slot.scrubbed = self._now()
            return walk.moved(beyond(generation.id))
        file = generation.files[place.file]
        if place.chunk >= file.map.count:
            return walk.moved(Place(generation.id, place.file + 1))
        walk = _counted(walk, Suspect(generation, file, place.chunk))
        size = chunk_span(place.chunk, file.size).size
        self._pause(self._pace.pause(size, self._monotonic()))
        return walk.moved(Place(generation.id, place.file, place.chunk + 1), size)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._ending or bool(self._suspects), seconds)

    def _set(self, walk: Pass) -> None:
        with self._changed:
            self._passes[0] = walk
        if self._monotonic() - self._noted_at >= NOTE_EVERY:
            self._note()

    def _finish(self, walk: Pass) -> None:
        with self._changed:
            self._passes.popleft()
            self._last = walk, self._now()
            self._changed.notify_all()
        log.info("scrub: %s", walk.view())
        self._note()

    # The record.

    def _note(self) -> None:
        self._noted_at = self._monotonic()
        write_json(self._record, dump_passes(self._passes))

    def _read_record(self) -> list[Pass]:
        try:
            return load_passes(json.loads(self._record.read_bytes()))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning(
                "%s is no record of a scrub: %r; it is begun anew when asked for",
                self._record.name,
                error,
            )
            return []


def _counted(walk: Pass, suspect: Suspect) -> Pass:
    """Look at one chunk; return ``walk`` with what was found counted."""
    try:
        return replace(walk, wrong=walk.wrong + _look(*suspect))
    except CacheError as error:
        if suspect.generation.progress.gone:  # evicted meanwhile
            return walk
        log.warning("scrub: %s, chunk %d: %s", suspect.file.path, suspect.chunk, error)
        # A file that was lost is on its way again: its generation is no longer published.
        unrepaired = walk.unrepaired + suspect.generation.published
        return replace(walk, wrong=walk.wrong + 1, unrepaired=unrepaired)


def _look(generation: Generation, file: StoredFile, chunk: int) -> bool:
    """Repair ``chunk`` if it is wrong; return whether it was.

    Raises:
        CacheError: it could not be repaired, or all of the file is lost or given up.
    """
    os.close(file.open())  # one that is missing or short is noticed here, and brought anew
    try:
        right = file.matches(chunk, direct=True)
    except DiskError:
        right = False  # what cannot be read may still be written
    if not right and generation.progress.repair is not None:
        generation.progress.repair(file, chunk)
    return not right


def scrub_name(key: Key) -> str:
    """Return what a pipeline is called in a pass, and in its notes on disk.

    That is its id in the tenant that every node has, ``tenant/id`` in others; no id has a slash.
    """
    return key.id if key.tenant == DEFAULT_TENANT else f"{key.tenant}/{key.id}"


def key_of(name: str) -> Key:
    """Return the pipeline that ``scrub_name`` calls ``name``."""
    tenant, _, pipeline = name.rpartition("/")
    return Key(tenant or DEFAULT_TENANT, pipeline)
