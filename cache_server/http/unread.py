"""Answers that their readers do not take: bounded in time, and in memory for all of them.

What is written to a connection and not taken by its peer stays in this process. A manifest of
64 MiB that is asked for many times and never read would be all its memory. So who reads an answer
has to take ``PACE`` of it, and where all that is not taken grows beyond ``LIMIT``, who has been at
it longest has to go.
"""

import asyncio
import fcntl
import struct
import termios
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cache_server.http.crowd import BoundedProtocol

PACE = 16 * 2**10  # bytes per second; a manifest of 1000 files has 700 kB
LIMIT = 256 * 2**20  # bytes; four of the largest manifests


@dataclass(slots=True)
class _Reading:
    left: int  # bytes that the peer had not taken at the last look
    look: asyncio.TimerHandle


@dataclass(slots=True)
class Unread:
    """Connections with so much unread that nothing more is written to them; oldest first."""

    limit: int = LIMIT
    pace: int = PACE
    term: float = 10.0  # seconds between two looks at one of them
    given_up: int = 0  # connections that were ended for it
    _reading: "dict[BoundedProtocol, _Reading]" = field(default_factory=dict)

    def begin(self, peer: "BoundedProtocol") -> None:
        """Watch ``peer``, to which nothing more is written until ``end``."""
        self._reading[peer] = self._looked_at(peer)
        while sum(_kept(each) for each in self._reading) > self.limit:
            self._give_up(next(iter(self._reading)))

    def end(self, peer: "BoundedProtocol") -> None:
        """Watch ``peer`` no more; fine for one that is not watched."""
        reading = self._reading.pop(peer, None)
        if reading is not None:
            reading.look.cancel()

    def __contains__(self, peer: "BoundedProtocol") -> bool:
        """Whether ``peer`` is watched."""
        return peer in self._reading

    def _looked_at(self, peer: "BoundedProtocol") -> _Reading:
        look = peer.loop.call_later(self.term, self._look, peer)
        return _Reading(_left(peer), look)

    def _look(self, peer: "BoundedProtocol") -> None:
        if self._reading[peer].left - _left(peer) < self.pace * self.term:
            self._give_up(peer)
        else:
            self._reading[peer] = self._looked_at(peer)

    def _give_up(self, peer: "BoundedProtocol") -> None:
        self.end(peer)
        self.given_up += 1
        peer.transport.abort()


def _kept(peer: "BoundedProtocol") -> int:
    """Return the bytes for ``peer`` in this process's memory."""
    return peer.transport.get_write_buffer_size()


def _left(peer: "BoundedProtocol") -> int:
    """Return the bytes that ``peer`` has not taken, those in the kernel too.

    Without these a slow reader would seem to stand still: the kernel takes more only when a third
    of its own buffer is free, which can be a megabyte.
    """
    count = bytearray(4)
    fcntl.ioctl(peer.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, count)
    (queued,) = struct.unpack("@i", count)
    return _kept(peer) + int(queued)
