"""Pull parts over one keep-alive connection, every byte to its place.

    ->  GET file, 4 chunks   GET digests, 64 B   GET file, the next 4   GET digests
    <-                       bytes … bytes  digests  bytes … bytes  digests

Each part is a pair of requests, written in one go, answered in order. The next pair is sent
when the first bytes of the current one are there: early enough that the node never waits for
us, and late enough that nothing queues behind a chunk that the node does not have yet. Bytes
are hashed in pieces, while they are still in the processor's cache.
"""

from collections import deque
from pathlib import Path

from cache_protocol.digests import (
    DIGEST_SIZE,
    ChunkHash,
    chunk_count,
    chunk_span,
)
from cache_protocol.ranges import Span, cut
from replica_agent.connection import Connection, Line
from replica_agent.core.answers import LostError, RefusedError, check_part, request
from replica_agent.core.schedule import Part
from replica_agent.local.disk_time import AbandonedError
from replica_agent.local.source import LocalSource
from replica_agent.recovery import Recovery
from replica_agent.transfer import FileState, Transfer
from replica_agent.trust import Trust

# Bytes. Small enough that received, hashed and written bytes stay in the second-level cache, large
# enough that a piece's four calls do not show; 128 KiB to 1 MiB cost the same, 4 MiB a third more.
PIECE = 512 * 2**10
DEPTH = 2  # pairs under way


class Lane:
    """One thread's work: pull parts until the transfer is over."""

    def __init__(
        self,
        transfer: Transfer,
        recovery: Recovery,
        trust: Trust | None = None,
        local: Path | None = None,
    ) -> None:
        """Pull what ``transfer`` has left; ``recovery`` says what to do about failures.

        ``local`` is the socket at which a node on this host lends its files.
        """
        self.line = Line(trust)
        self._here = LocalSource(transfer, local)
        self._transfer = transfer
        self._recovery = recovery
        self._under_way: deque[Part] = deque()
        self._failures = 0  # in a row
        self._version = 0  # of the addresses that were asked last

    def run(self) -> None:
        """Pull; a failure that no retry can help fails the transfer."""
        with self._transfer.failing():
            try:
                while (part := self._take(wait=True)) is not None:
                    self._under_way.append(part)
                    self._pull()
            except AbandonedError:
                return  # another lane has our parts
            finally:
                self._here.close()

    def give_up_after(self, seconds: float) -> bool:
        """Give the lane up, from any thread, if it waits for the disk for longer than ``seconds``.

        Return whether it is given up. Its parts are for other lanes from then on; its thread ends
        when the disk answers, without a trace.
        """
        given_up = self._here.disk.give_up_after(seconds)
        if given_up:
            self._give_back()
        return given_up

    def _take(self, *, wait: bool) -> Part | None:
        part = self._transfer.take(wait=False)
        if part is None and wait:
            self._here.put_down()
            part = self._transfer.take(wait=True)
        return part

    def _pull(self) -> None:
        """Serve one connection until it breaks or nothing is left; then give parts back."""
        try:
            with self.line.connect(self._transfer.endpoint) as connection:
                self._serve(connection)
        except (LostError, RefusedError) as error:
            self._give_back()
            if not self._transfer.over:
                self._failures += 1
                self._recovery.after(error, self._failures, self._version)

    def _serve(self, connection: Connection) -> None:
        self._ask(connection)
        while self._under_way:
            self._receive(connection)
            self._failures = 0
            if not self._under_way:
                self._ask_ahead(connection, wait=True)

    def _ask_ahead(self, connection: Connection, *, wait: bool) -> None:
        if len(self._under_way) < DEPTH:
            part = self._take(wait=wait)
            if part is not None:
                self._under_way.append(part)
                self._ask(connection)

    def _ask(self, connection: Connection) -> None:
        """Ask for what the last part still needs, once nothing more of it can be read here."""
        self._under_way[-1] = self._here.read(self._under_way[-1])
        connection.send(self._pair(self._under_way[-1]))

    def _pair(self, part: Part) -> bytes:
        self._version = self._transfer.version
        address = self._transfer.address(part.file)
        missing = part.missing(self._transfer.files[part.file].file.size)
        name, doubted = self._transfer.request_id, part.tries > 0
        digests = request(address.digests, _entries(part.chunks), request_id=name)
        if not missing.size:
            return digests
        return request(address.content, missing, revalidate=doubted, request_id=name) + digests

    def _receive(self, connection: Connection) -> None:
        state = self._transfer.files[self._under_way[0].file]
        if self._under_way[0].missing(state.file.size).size:
            self._receive_bytes(connection, state)
        else:  # all of it was read here: read on while its digests are on their way
            self._ask_ahead(connection, wait=False)
        part = self._under_way[0]
        entries = _entries(part.chunks)
        check_part(connection.head(), entries, chunk_count(state.file.size) * DIGEST_SIZE)
        promised = connection.read(entries.size)
        self._under_way.popleft()
        self._transfer.settle(part, promised)

    def _receive_bytes(self, connection: Connection, state: FileState) -> None:
        part = self._under_way[0]
        check_part(connection.head(), part.missing(state.file.size), state.file.size)
        for chunk in part.chunks[len(part.received) :]:
            digest = self._receive_chunk(connection, state, chunk)
            part = part._replace(received=(*part.received, digest))
            self._under_way[0] = part  # what is whole stays, whatever happens next
            self._transfer.progressed()

    def _receive_chunk(self, connection: Connection, state: FileState, chunk: int) -> bytes:
        hasher = ChunkHash()
        for piece in cut(chunk_span(chunk, state.file.size), PIECE):
            room = state.arena.room(state.number, piece)
            connection.receive(room)
            hasher.update(room)
            state.arena.store(state.number, piece, room)
            self._transfer.moved(piece.size)
            self._ask_ahead(connection, wait=False)
        return hasher.digest()

    def _give_back(self) -> None:
        while self._under_way:
            self._transfer.give_back(self._under_way.popleft())


def _entries(chunks: range) -> Span:
    """Return where the digests of ``chunks`` stand in their table."""
    return Span(chunks.start * DIGEST_SIZE, chunks.stop * DIGEST_SIZE)
