"""A local plane over a fake shelf, and a peer on its socket that says what it likes."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cache_protocol.local import Question, ask
from cache_server.local.plane import LocalPlane
from cache_server.local.register import Register
from cache_server.local.rights import Rights
from tests.fakes.reader import KEYS
from tests.fakes.shelf import GENERATION, FakeShelf

LIMIT = 20.0  # seconds; nothing here takes one
LEASE = "a-lease"


class Peer:
    """A process of this host on the node's socket."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT)
        try:
            self.sock.connect(str(path))
        except OSError:
            self.sock.close()
            raise
        self._buffer = b""
        self.fds: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()
        for fd in self.fds:
            os.close(fd)

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)

    def hear(self) -> dict | None:
        """Return the next line; None at the end. Descriptors are kept in ``fds``."""
        while b"\n" not in self._buffer:
            try:
                data, fds, _, _ = socket.recv_fds(self.sock, 4096, 4)
            except ConnectionResetError:
                return None
            self.fds += fds
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def ask(self, target: str, lease: str = LEASE) -> dict | None:
        self.say(ask(Question(target, lease)))
        return self.hear()


@dataclass
class LocalNode:
    shelf: FakeShelf
    plane: LocalPlane
    register: Register
    leases: dict[str, str] = field(default_factory=dict)  # to generations

    @property
    def path(self) -> Path:
        return Path(self.plane.offer.socket)

    def peer(self, *, greeted: bool = True) -> Peer:
        peer = Peer(self.path)
        if greeted:
            assert peer.hear() == {"warmline": "local", "version": 1}
        return peer


@contextmanager
def local_node(directory: Path, **bounds: object) -> Iterator[LocalNode]:
    """Yield a plane that lets peers in; nobody is left on it at the end."""
    shelf, register = FakeShelf(directory), Register(**bounds)
    leases = {LEASE: GENERATION}
    rights = Rights(shelf, lambda: KEYS, leases.get, time.time)
    plane = LocalPlane(directory / "socket", 0o600, rights, register)
    plane.start()
    try:
        yield LocalNode(shelf, plane, register, leases)
    finally:
        plane.close()
    assert not register.guests
    assert not (directory / "socket").exists()
