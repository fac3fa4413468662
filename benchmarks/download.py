"""A plain parallel ranged download: what any careful client can get out of an origin.

    python -m benchmarks.download LANES URL …     into new memory; prints seconds

Each lane keeps one connection and asks for 16 MiB at a time. Redirects are followed once per
file, as a hub sends its reader on to the CDN. Nothing is checked.
"""

import sys
import threading
import time
from http.client import HTTPConnection, HTTPResponse
from mmap import mmap
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from benchmarks.threads import together
from cache_protocol.ranges import Span, cut, range_header

_EXTENT = 16 * 2**20  # bytes per request
_REDIRECTS = 5


class Remote(NamedTuple):
    """A file where its bytes really are."""

    url: SplitResult
    size: int  # bytes


def download(lanes: int, urls: list[str]) -> float:
    """Return the seconds it takes to have all of ``urls`` in new memory."""
    begun = time.perf_counter()
    remotes = [locate(url) for url in urls]
    memory = memoryview(mmap(-1, sum(remote.size for remote in remotes)))
    work, base = [], 0
    for remote in remotes:
        whole = Span(0, remote.size)
        work += [(remote.url, span, base + span.begin) for span in cut(whole, _EXTENT)]
        base += remote.size
    queue = iter(work)
    connections = threading.local()

    def lane() -> None:
        for url, span, at in queue:
            _fetch(connections, url, span, memory[at : at + span.size])

    together(lane, lanes)
    return time.perf_counter() - begun


def locate(url: str) -> Remote:
    """Follow redirects of ``url`` to the bytes; ask for one of them to learn the size."""
    for _ in range(_REDIRECTS):
        parts = urlsplit(url)
        connection = HTTPConnection(parts.netloc, timeout=60)
        try:
            connection.request("GET", _target(parts), headers={"Range": "bytes=0-0"})
            answer = connection.getresponse()
            if answer.status == 206:
                return Remote(parts, int(answer.headers["Content-Range"].rpartition("/")[2]))
            url = urljoin(url, answer.headers["Location"])
        finally:
            connection.close()
    raise RuntimeError(f"{url}: more than {_REDIRECTS} redirects")


def _fetch(kept: threading.local, url: SplitResult, span: Span, into: memoryview) -> None:
    connection: HTTPConnection | None = getattr(kept, "connection", None)
    if connection is None or getattr(kept, "netloc", None) != url.netloc:
        connection = HTTPConnection(url.netloc, timeout=60)
        kept.connection, kept.netloc = connection, url.netloc
    connection.request("GET", _target(url), headers={"Range": range_header(span)})
    answer = connection.getresponse()
    if answer.status != 206:
        raise RuntimeError(f"{url.geturl()}: {answer.status}")
    _fill(answer, into)


def _fill(answer: HTTPResponse, into: memoryview) -> None:
    while into:
        done = answer.readinto(into)
        if not done:
            raise RuntimeError(f"the answer ended {len(into)} bytes early")
        into = into[done:]
    answer.read()  # sets the connection free for the next request


def _target(url: SplitResult) -> str:
    return f"{url.path}?{url.query}" if url.query else url.path


if __name__ == "__main__":
    print(download(int(sys.argv[1]), sys.argv[2:]))
