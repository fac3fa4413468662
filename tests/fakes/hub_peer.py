"""A hub made of a few words: a repository whose listing is whatever a test says."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cache_server.core.reach import parse_reach
from cache_server.origins.connections import Connections
from cache_server.origins.hub_session import use_one_attempt
from cache_server.origins.huggingface import HuggingFaceOrigin
from cache_server.origins.ranged_http import RangedClient
from tests.fakes.peer import peer, reply

COMMIT = "a" * 40
Tree = Callable[[str, socket.socket], None]


def rows(count: int, start: int = 0) -> bytes:
    """Return a page of ``count`` files."""
    page = [
        {"type": "file", "path": f"{start + n:09d}", "size": 1, "oid": "0" * 40}
        for n in range(count)
    ]
    return json.dumps(page).encode()


@contextmanager
def listed_by(tree: Tree, *, token: str | None = None) -> Iterator[HuggingFaceOrigin]:
    """Return a repository whose pages ``tree`` sends; ``tree`` is given the request's head."""

    def answer(head: str, sock: socket.socket) -> None:
        if "/tree/" in head:
            tree(head, sock)
        else:
            sock.sendall(reply(json.dumps({"id": "org/name", "sha": COMMIT}).encode()))

    with peer(answer) as url:
        use_one_attempt(connect_timeout=2, stall_timeout=2)
        client = RangedClient(
            Connections(connect_timeout=2, stall_timeout=2, reach=parse_reach("", url))
        )
        origin = HuggingFaceOrigin("org/name", None, endpoint=url, token=token, client=client)
        yield origin
        origin.close()
