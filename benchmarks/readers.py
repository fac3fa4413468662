"""Many plain HTTP readers at once, as a process of their own: they read and forget.

python -m benchmarks.readers READERS BYTES URL …     each reads the URLs over and over until
                                                     it has BYTES; prints seconds
"""

import itertools
import sys
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

from benchmarks.threads import together

_BLOCK = 2**20  # bytes


def read_all(readers: int, size: int, urls: list[str]) -> float:
    """Return the seconds until every one of ``readers`` has read ``size`` bytes of ``urls``."""
    begun = time.perf_counter()

    def reader() -> None:
        left, buffer = size, memoryview(bytearray(_BLOCK))
        for url in itertools.cycle(urls):
            if left <= 0:
                return
            left -= _read(url, buffer, left)

    together(reader, readers)
    return time.perf_counter() - begun


def _read(url: str, buffer: memoryview, most: int) -> int:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=60)
    try:
        span = {"Range": f"bytes=0-{most - 1}"}
        connection.request("GET", f"{parts.path}?{parts.query}", headers=span)
        answer = connection.getresponse()
        if answer.status != 206:
            raise RuntimeError(f"{url}: {answer.status}")
        total = 0
        while done := answer.readinto(buffer):
            total += done
        return total
    finally:
        connection.close()


if __name__ == "__main__":
    print(read_all(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
