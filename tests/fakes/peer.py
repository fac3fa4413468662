"""A server that answers whatever it is told to, byte for byte: what hostile origins are made of.

with peer(lambda head, sock: sock.sendall(b"HTTP/1.1 200 OK\r\n…")) as url:
    …
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Answer = Callable[[str, socket.socket], None]
"""Answers one request, given its head; whatever the client does to the connection ends it."""


def reply(body: bytes = b"", status: str = "200 OK", **headers: object) -> bytes:
    """Return a whole answer; ``_`` in a header's name stands for ``-``."""
    fields = {"Content_Length": len(body), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def trickle(sock: socket.socket, piece: bytes, pause: float = 0.005) -> None:
    """Send ``piece`` again and again until the client leaves. The pauses are the attack."""
    while True:
        sock.sendall(piece)
        time.sleep(pause)


@contextmanager
def peer(answer: Answer) -> Iterator[str]:
    """Answer every request with ``answer``; return the URL. Nothing is left at the end."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        threads: list[threading.Thread] = []
        opened: list[socket.socket] = []

        def serve(sock: socket.socket) -> None:
            with sock, suppress(OSError), sock.makefile("rb") as lines:
                while head := _head(lines):
                    answer(head, sock)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    opened.append(sock)
                    threads.append(threading.Thread(target=serve, args=(sock,)))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            _hang_up(listener)
            accepting.join()
            for sock in opened:
                _hang_up(sock)
            for thread in threads:
                thread.join()


def _head(lines) -> str:
    head = b""
    while (line := lines.readline()) not in (b"\r\n", b""):
        head += line
    return head.decode()


def _hang_up(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
