"""The state of one generation on its way into the arenas.

Lanes, verdicts and whoever waits meet here and nowhere else.

    asked for  ->  received  ->  settled (digest compared)  ->  confirmed (the file's verdict)
        ^             |                 |                            |
        └─ lost ──────┘                 └─ wrong, at most twice      └─ the table differs: the
        └───────────────────────────────┘                               chunks that do come again

It opens no connection and moves no byte. Everything is guarded by one condition, ``changed``,
which whoever waits for any of it waits on.
"""

import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from cache_protocol.digests import (
    ABSENT,
    DIGEST_SIZE,
    chunk_count,
    chunk_digest,
    chunk_span,
)
from cache_protocol.errors import GenerationGoneError, IntegrityError, MalformedError
from cache_protocol.manifest import PASS_THROUGH, File, Manifest
from cache_protocol.ranges import Span
from replica_agent.core.schedule import EXTENT, Part, Schedule
from replica_agent.core.urls import Endpoint, Target, parse_url
from replica_agent.ports import Arena, ArenaLostError

MAX_REFETCHES = 2  # of a chunk whose digest was wrong; the second time the node asks its origin
MAX_REVISIONS = 3  # of a file whose digest table the node has replaced


class Addresses(NamedTuple):
    """Where one file is read, until the tickets run out."""

    content: Target
    digests: Target
    verdict: Target


class Arrival(NamedTuple):
    """A chunk that is in place and checked."""

    file: int  # index in its model
    span: Span


@dataclass(slots=True)
class FileState:
    """How far one file has come."""

    model: str
    number: int  # index in its model
    file: File
    arena: Arena
    table: bytearray  # digests of the chunks that are in place; ABSENT where there is none yet
    missing: int  # chunks
    received: int = 0  # bytes in settled chunks
    confirmed: bool = False
    revisions: int = 0  # times the node's table turned out to be another one

    def __str__(self) -> str:
        """Return how people call it."""
        return f"{self.model}/{self.file.path}"


@dataclass(slots=True)
class ModelState:
    """How far one model has come."""

    unconfirmed: int  # files
    arrivals: list[Arrival] = field(default_factory=list)
    rewritten: bool = False  # a chunk that had arrived came again with other content


class ReplacedError(Exception):
    """This transfer is over, and another follows.

    The node gave its generation up for another one, or an arena was lost, which is the cause.
    """


class Transfer:
    """One generation, from the first request to the last verdict. Safe for threads."""

    def __init__(
        self,
        manifest: Manifest,
        arenas: Mapping[str, Arena],
        changed: threading.Condition,
        request_id: str | None = None,
    ) -> None:
        """Plan the transfer of ``manifest`` into ``arenas``, one per model.

        ``request_id`` goes with every request, for the node's log.

        Raises:
            MalformedError: a URL of the manifest is not one that the agent follows.
        """
        self.manifest = manifest
        self.arenas = arenas  # by model; they go with this transfer, and the next has others
        self.request_id = request_id
        self.leases = [manifest.lease.id]  # held, until the transfer is over
        self.successor: Manifest | None = None  # of the next generation
        self.lost: ArenaLostError | None = None  # why its arenas are of no use any more
        self.wire_bytes = 0  # that lanes received; more than the size when some came twice
        self.local_bytes = 0  # that lanes read from the node's files on this host
        self.remarks: list[str] = []  # what an operator should know of the way of the bytes
        self.last_progress = time.monotonic()
        self._changed = changed
        self._failure: BaseException | None = None
        self.files = list(_states(manifest, arenas))
        self.models = {n: ModelState(len(m.files)) for n, m in manifest.models.items()}
        self._schedule = Schedule([(s.model, s.file.size) for s in self.files], _extent(arenas))
        self._unjudged = deque(i for i, s in enumerate(self.files) if s.missing == 0)
        self._unconfirmed = len(self.files)
        self._addresses = addresses(manifest)
        self.version = 0  # of the addresses
        self._signed = time.monotonic()  # when their tickets came

    # What the lanes do.

    def take(self, *, wait: bool) -> Part | None:
        """Return the next part; None when there is none now or, with ``wait``, ever again."""
        with self._changed:
            while not self.over:
                part = self._schedule.take()
                if part is not None or not wait:
                    return part
                self._changed.wait()
            return None

    def give_back(self, part: Part) -> None:
        """Let another lane have ``part``, with what it has received so far and is in place."""
        if not self.files[part.file].arena.in_place:
            part = part._replace(received=())
        with self._changed:
            self._schedule.give_back(part)
            self._changed.notify_all()

    def moved(self, size: int) -> None:
        """Note ``size`` bytes off the wire. No lock: it is called for every piece."""
        self.wire_bytes += size

    def read_here(self, size: int) -> None:
        """Note ``size`` bytes of the node's files on this host; no lock, as above."""
        self.local_bytes += size

    def remark(self, text: str) -> None:
        """Keep ``text`` for the report; once, however many lanes say it."""
        with self._changed:
            if text not in self.remarks:
                self.remarks.append(text)

    def progressed(self) -> None:
        """Note a whole chunk, which no lane has to ask for again.

        Not every piece: of a chunk that breaks off at the same byte each time, as on a bad
        sector, pieces come for ever.
        """
        self.last_progress = time.monotonic()

    def settle(self, part: Part, promised: bytes) -> None:
        """Compare what ``part`` received with the ``promised`` digests of its chunks.

        Good chunks have arrived; wrong ones come back at the front, to be sent afresh.
        """
        self._accept(part, promised)
        with self._changed:
            for n, chunk in enumerate(part.chunks):
                digest = _entry(promised, n)
                if digest == part.received[n] != ABSENT:
                    self._arrived(part.file, chunk, digest)
                else:
                    self._reject(part, chunk)
            self._changed.notify_all()

    def _accept(self, part: Part, promised: bytes) -> None:
        """Tell the arena of good chunks; not under the lock, since it may have to wait."""
        state = self.files[part.file]
        for n, chunk in enumerate(part.chunks):
            if _entry(promised, n) == part.received[n] != ABSENT:
                state.arena.accept(state.number, chunk_span(chunk, state.file.size))

    # What the verdicts do.

    def take_unjudged(self, most: int) -> list[int]:
        """Wait for files whose chunks are all in; return at most ``most``, none at the end."""
        with self._changed:
            while not self.over and not self._unjudged:
                self._changed.wait()
            return [] if self.over else [self._unjudged.popleft() for _ in self._first(most)]

    def put_unjudged(self, indices: Sequence[int]) -> None:
        """Have the verdicts of these files asked for again, after those that wait already."""
        with self._changed:
            self._unjudged.extend(indices)
            self._changed.notify_all()

    def agrees(self, index: int, verdict: bytes) -> bool:
        """Return whether ``verdict`` is about the very bytes that are in place.

        False means that the node has another digest table now.

        Raises:
            IntegrityError: the sha256 is not the one that the manifest promised.
        """
        state = self.files[index]
        sha256 = verdict[:-DIGEST_SIZE].hex()
        if state.file.sha256 is not None and state.file.sha256 != sha256:
            raise IntegrityError(
                f"{state} has sha256 {sha256} at the node, not {state.file.sha256} as promised"
            )
        return chunk_digest(state.table) == verdict[-DIGEST_SIZE:]

    def confirm(self, index: int) -> None:
        """Note that every byte of a file is in place and confirmed."""
        state = self.files[index]
        state.arena.confirm(state.number)
        with self._changed:
            state.confirmed = True
            self.models[state.model].unconfirmed -= 1
            self._unconfirmed -= 1
            self.last_progress = time.monotonic()
            self._changed.notify_all()

    def distrust(self, index: int, wrong: str) -> None:
        """Have all of a file pulled again, because the whole of it is not what was promised.

        Raises:
            IntegrityError: ``wrong``; it happens to this file for the second time.
        """
        with self._changed:
            state = self.files[index]
            state.revisions += 1
            if state.revisions > 1 or not _chunks(state):
                raise IntegrityError(wrong)
            for chunk in _chunks(state):
                self._forget(index, chunk, tries=1)  # nothing that the node still has will do
            self._changed.notify_all()

    def revise(self, index: int, table: bytes) -> None:
        """Have every chunk pulled again whose digest in ``table`` is another one.

        Raises:
            IntegrityError: the node changed its mind about the file too often.
        """
        with self._changed:
            state = self.files[index]
            state.revisions += 1
            if state.revisions > MAX_REVISIONS:
                raise IntegrityError(f"{state}: no table of its digests agrees with its verdict")
            stale = [c for c in _chunks(state) if _entry(state.table, c) != _entry(table, c)]
            for chunk in stale:
                self._forget(index, chunk)
            if not stale:
                self._unjudged.append(index)
            self._changed.notify_all()

    # How it ends, and who hears of it.

    @property
    def over(self) -> bool:
        """Whether nothing is left to do: every file confirmed, failed, or replaced."""
        ended = (self._failure, self.lost, self.successor)
        return self._unconfirmed == 0 or any(why is not None for why in ended)

    def fail(self, error: BaseException) -> None:
        """End the transfer with ``error``, unless it has ended already."""
        with self._changed:
            if not self.over:
                self._failure = error
            self._changed.notify_all()

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Fail the transfer with whatever goes wrong inside: a thread has nobody to raise to."""
        try:
            yield
        except ArenaLostError as error:
            self.lose(error)
        except Exception as error:  # noqa: BLE001 - it is kept and raised by ``check``
            _clear(error)
            self.fail(error)

    def lose(self, error: ArenaLostError) -> None:
        """End the transfer because an arena failed: the next one uses another.

        Of ``error`` only the words are kept: it refers to the threads' frames, and through them to
        memory that the next arena may need.
        """
        with self._changed:
            if not self.over:
                self.lost = ArenaLostError(*error.args)
            self._changed.notify_all()

    def withdraw(self, reason: str) -> None:
        """Have another transfer take the place of this one, which may be over and confirmed.

        What is confirmed stays good for whoever took it.
        """
        with self._changed:
            if self._failure is None and self.successor is None:
                self.lost = self.lost or ArenaLostError(reason)
            self._changed.notify_all()

    @property
    def replaced(self) -> bool:
        """Whether another transfer takes the place of this one, or will."""
        return self.successor is not None or self.lost is not None

    def refresh(self, manifest: Manifest) -> None:
        """Go on with the URLs of ``manifest``; another generation ends this transfer.

        Raises:
            MalformedError: one generation with two lists of files.
        """
        with self._changed:
            if manifest.generation != self.manifest.generation:
                self.successor = manifest  # its lease is the next transfer's
            elif _content(manifest) != _content(self.manifest):
                raise MalformedError(f"generation {manifest.generation} has two lists of files")
            else:
                self._addresses = addresses(manifest)
                self.manifest = manifest
                if manifest.lease.id not in self.leases:  # it may be the old one, renewed
                    self.leases.append(manifest.lease.id)
                self.version += 1
                self._signed = time.monotonic()
            self._changed.notify_all()

    def address(self, index: int) -> Addresses:
        """Return where a file is read now."""
        return self._addresses[index]

    @property
    def tickets_age(self) -> float:
        """Seconds since the node signed the addresses."""
        return time.monotonic() - self._signed

    @property
    def passes_through(self) -> bool:
        """Whether the node does not keep the files, and has no verdict on them."""
        return self.manifest.source == PASS_THROUGH

    @property
    def endpoint(self) -> Endpoint:
        """The node that has the bytes. Ask only when there is a file."""
        return self._addresses[0].content.endpoint

    def check(self) -> None:
        """Raise what ended the transfer before its end, if anything did."""
        if self._failure is not None:
            raise self._failure
        if self.lost is not None or self.successor is not None:
            raise ReplacedError(self.manifest.generation) from self.lost

    def arrivals(self, model: str, seen: int) -> Sequence[Arrival]:
        """Wait for more than ``seen`` arrivals of a model; return them, none when it is done.

        Done means confirmed: the last arrivals are followed by a wait for the verdicts.

        Raises:
            ReplacedError: this generation is over.
            CacheError: the transfer failed.
        """
        state = self._model(model)
        with self._changed:
            while len(state.arrivals) == seen and state.unconfirmed:
                self.check()
                self._changed.wait()
            return state.arrivals[seen:]

    def wait_confirmed(self, model: str) -> None:
        """Wait until every file of a model is confirmed; raises as ``arrivals`` does."""
        state = self._model(model)
        with self._changed:
            while state.unconfirmed:
                self.check()
                self._changed.wait()

    def wait_files(self, indices: Collection[int]) -> None:
        """Wait until each of these files is confirmed; raises as ``arrivals`` does."""
        with self._changed:
            while not all(self.files[index].confirmed for index in indices):
                self.check()
                self._changed.wait()

    @property
    def verified_bytes(self) -> int:
        """Bytes in place whose digests have been compared."""
        return sum(s.received for s in self.files)

    def _model(self, name: str) -> ModelState:
        if name not in self.models:
            raise GenerationGoneError(f"the pipeline has no model {name!r} any more")
        return self.models[name]

    # Under the condition.

    def _first(self, most: int) -> range:
        return range(min(most, len(self._unjudged)))

    def _arrived(self, index: int, chunk: int, digest: bytes) -> None:
        state = self.files[index]
        span = chunk_span(chunk, state.file.size)
        _put(state.table, chunk, digest)
        state.missing -= 1
        state.received += span.size
        self.models[state.model].arrivals.append(Arrival(state.number, span))
        if state.missing == 0:
            self._unjudged.append(index)

    def _reject(self, part: Part, chunk: int) -> None:
        if part.tries == MAX_REFETCHES:
            self._failure = IntegrityError(
                f"{self.files[part.file]}: chunk {chunk} has a wrong digest in "
                f"{part.tries + 1} transfers"
            )
        self._schedule.give_back(Part(part.file, range(chunk, chunk + 1), tries=part.tries + 1))

    def _forget(self, index: int, chunk: int, tries: int = 0) -> None:
        state = self.files[index]
        _put(state.table, chunk, ABSENT)
        state.missing += 1
        state.received -= chunk_span(chunk, state.file.size).size
        self.models[state.model].rewritten = True
        self._schedule.give_back(Part(index, range(chunk, chunk + 1), tries=tries))


def _clear(error: BaseException | None) -> None:
    """Have ``error``, and what led to it, say where it was raised and hold nothing from there.

    It is kept for long, and its frames look at memory of the arena, which others may want.
    """
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            with suppress(RuntimeError):  # a frame that still runs
                trace.tb_frame.clear()
            trace = trace.tb_next
        error = error.__cause__ or error.__context__


def addresses(manifest: Manifest) -> list[Addresses]:
    """Return where every file of ``manifest`` is read.

    Raises:
        MalformedError: something that is no plain URL, or several nodes in one manifest: the
            answers of one file come over one connection.
    """
    found = [
        Addresses(parse_url(f.urls[0]), parse_url(f.digests), parse_url(f.verdict))
        for _, f in manifest.files()
    ]
    endpoints = {target.endpoint for file in found for target in file}
    if len(endpoints) > 1:
        raise MalformedError(f"one manifest names {len(endpoints)} nodes; this agent reads one")
    return found


def _states(manifest: Manifest, arenas: Mapping[str, Arena]) -> Iterator[FileState]:
    for name, model in manifest.models.items():
        for number, file in enumerate(model.files):
            count = chunk_count(file.size)
            table = bytearray(count * DIGEST_SIZE)
            yield FileState(name, number, file, arenas[name], table, missing=count)


def _extent(arenas: Mapping[str, Arena]) -> int:
    """Return how many chunks a lane may have received before it knows their digests."""
    return EXTENT if all(arena.in_place for arena in arenas.values()) else 1


def _content(manifest: Manifest) -> list[tuple[str, str, int]]:
    return [(model, file.path, file.size) for model, file in manifest.files()]


def _chunks(state: FileState) -> range:
    return range(chunk_count(state.file.size))


def _entry(table: bytes | bytearray, chunk: int) -> bytes:
    return bytes(table[chunk * DIGEST_SIZE : (chunk + 1) * DIGEST_SIZE])


def _put(table: bytearray, chunk: int, digest: bytes) -> None:
    table[chunk * DIGEST_SIZE : (chunk + 1) * DIGEST_SIZE] = digest
