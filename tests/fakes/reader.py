"""A plain HTTP/1.1 client over one socket, for tests that care about bytes and moments."""

import socket
import ssl
import time
from dataclasses import dataclass
from typing import Self

from cache_protocol import tickets
from cache_protocol.routes import FILES, Resource, resource_path
from tests.fakes.shelf import GENERATION

KEYS = tickets.Keys("node", (tickets.Key("k1", b"k" * tickets.KEY_SIZE),))


def target(
    path: str,
    *,
    kind: str = FILES,
    model: str = "m",
    generation: str = GENERATION,
    expires: float | None = None,
    tenant: str = "default",
) -> str:
    """Return path and query of a resource, signed."""
    return signed(resource_path(Resource(kind, generation, model, path)), expires, tenant)


def signed(path: str, expires: float | None = None, tenant: str = "default") -> str:
    """Return ``path`` with a ticket for it; good for the whole suite, unless said."""
    until = int(expires or time.time() + 3600)
    return f"{path}?{tickets.sign(KEYS, tenant, path, until)}"


@dataclass
class Reply:
    status: int
    fields: dict[str, str]  # names in lower case
    body: bytes
    whole: bool  # as many bytes came as the head announced


class Reader:
    """One connection."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        timeout: float = 20,
        encryption: ssl.SSLContext | None = None,
    ) -> None:
        self.sock = socket.create_connection(address, timeout)
        if encryption is not None:
            self.encrypt(encryption)
        self._unread = b""

    def encrypt(self, encryption: ssl.SSLContext) -> None:
        """Shake hands; everything after that is encrypted."""
        name = self.sock.getpeername()[0]
        self.sock = encryption.wrap_socket(self.sock, server_hostname=name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def ask(self, target: str, *fields: str, method: str = "GET", version: str = "1.1") -> None:
        lines = [f"{method} {target} HTTP/{version}", "Host: node", *fields]
        self.send("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def get(self, target: str, *fields: str, method: str = "GET", version: str = "1.1") -> Reply:
        self.ask(target, *fields, method=method, version=version)
        return self.reply(bodyless=method == "HEAD")

    def reply(self, *, bodyless: bool = False) -> Reply:
        status, fields = self.head()
        size = 0 if bodyless or status == 304 else int(fields["content-length"])
        body = self.take(size)
        return Reply(status, fields, body, len(body) == size)

    def head(self) -> tuple[int, dict[str, str]]:
        while b"\r\n\r\n" not in self._unread:
            if not self._more():
                raise EOFError(f"the connection ended after {self._unread!r}")
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        pairs = (field.split(": ", 1) for field in fields)
        return int(line.split()[1]), {name.lower(): value for name, value in pairs}

    def take(self, size: int) -> bytes:
        """Return ``size`` bytes, or fewer if the connection ends before."""
        parts, have = [self._unread], len(self._unread)
        while have < size and (data := self.sock.recv(min(2**20, size - have))):
            parts.append(data)
            have += len(data)
        data = b"".join(parts)
        self._unread = data[size:]
        return data[:size]

    def ended(self) -> bool:
        """Wait for the end of the connection; False if bytes come instead."""
        try:
            return not self._unread and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def _more(self) -> bool:
        data = self.sock.recv(2**16)
        self._unread += data
        return bool(data)
