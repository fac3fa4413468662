"""Ask for the verdict of every file whose chunks are all in; no load is done before it.

A verdict can wait for long: the node runs sha256 over a file that is still being filled. It
therefore has a thread and a connection of its own and never keeps a lane from pulling. Many
small files are asked for in one go.

    verdict agrees            the file is confirmed
    the digest table differs  the node has pulled the file again since: fetch the table, pull
                              the chunks that differ, ask again
    the sha256 differs        IntegrityError

Of files that only pass through the node there is no verdict: this thread holds them against the
origin's own digests itself, and has one that differs pulled again, once.
"""

from collections import deque

from cache_protocol.digests import VERDICT_SIZE
from cache_protocol.ranges import Span
from replica_agent.connection import Connection, Line
from replica_agent.core.answers import (
    LostError,
    RefusedError,
    check_part,
    check_whole,
    request,
)
from replica_agent.provenance import mismatch
from replica_agent.recovery import Recovery
from replica_agent.transfer import Transfer
from replica_agent.trust import Trust

BATCH = 32  # verdicts asked for in one go
WAIT = 600.0  # seconds: sha256 over 500 GB, or pulling a bad file of 100 GB again


class Verdicts:
    """One thread's work: have every file confirmed until the transfer is over."""

    def __init__(self, transfer: Transfer, recovery: Recovery, trust: Trust | None = None) -> None:
        """Confirm the files of ``transfer``; ``recovery`` says what to do about failures."""
        self.line = Line(trust)
        self._transfer = transfer
        self._recovery = recovery
        self._asked: deque[int] = deque()  # files, in the order of their answers
        self._differing: list[int] = []
        self._failures = 0  # in a row
        self._version = 0  # of the addresses that were asked last

    def run(self) -> None:
        """Ask; a failure that no retry can help fails the transfer."""
        with self._transfer.failing():
            while self._take():
                if self._transfer.passes_through:
                    self._prove()
                else:
                    self._confirm()

    def _take(self) -> bool:
        """Return whether there is a file to confirm; wait for one."""
        if not self._asked:
            self._asked.extend(self._transfer.take_unjudged(BATCH))
        return bool(self._asked) and not self._transfer.over

    def _prove(self) -> None:
        """Confirm a file by what its origin promised, or have it pulled again."""
        index = self._asked.popleft()
        wrong = mismatch(self._transfer.files[index], self._transfer.check)
        if wrong is None:
            self._transfer.confirm(index)
        else:
            self._transfer.distrust(index, wrong)

    def _confirm(self) -> None:
        """Serve one connection until it breaks or the transfer is over."""
        try:
            with self.line.connect(self._transfer.endpoint, stall=WAIT) as connection:
                while self._take() and not self._transfer.passes_through:
                    self._ask(connection)
                    self._revise(connection)
                    self._failures = 0
        except (LostError, RefusedError) as error:
            self._give_back()
            if not self._transfer.over:
                self._failures += 1
                # A node that answers is alive, and may just not be done with the file.
                patience = WAIT if isinstance(error, RefusedError) else 0.0
                self._recovery.after(error, self._failures, self._version, patience)

    def _ask(self, connection: Connection) -> None:
        self._version = self._transfer.version
        addresses = (self._transfer.address(index) for index in self._asked)
        name = self._transfer.request_id
        connection.send(b"".join(request(a.verdict, request_id=name) for a in addresses))
        while self._asked:
            check_whole(connection.head(), VERDICT_SIZE)
            self._judge(self._asked[0], connection.read(VERDICT_SIZE))
            self._asked.popleft()

    def _judge(self, index: int, verdict: bytes) -> None:
        if self._transfer.agrees(index, verdict):
            self._transfer.confirm(index)
        else:
            self._differing.append(index)

    def _revise(self, connection: Connection) -> None:
        while self._differing:
            index = self._differing[-1]
            table = Span(0, len(self._transfer.files[index].table))
            if table.size == 0:  # nothing to compare: the verdict is not about an empty file
                self._transfer.revise(index, b"")
            else:
                address, name = self._transfer.address(index), self._transfer.request_id
                connection.send(request(address.digests, table, request_id=name))
                check_part(connection.head(), table, table.size)
                self._transfer.revise(index, connection.read(table.size))
            self._differing.pop()

    def _give_back(self) -> None:
        self._transfer.put_unjudged([*self._asked, *self._differing])
        self._asked.clear()
        self._differing.clear()
