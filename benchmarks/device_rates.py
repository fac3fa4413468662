"""The fastest that a machine can do at each end: copies out of pinned memory, and cached reads.

    python -m benchmarks.device_rates copy DRIVER LANES SIZE   bytes per second, as JSON
    python -m benchmarks.device_rates read LANES FILE …        likewise, files in the page cache

The copies are of 8 MiB from as much pinned memory as a load with so many lanes has, in two streams,
and nothing else happens. The reads go into a buffer per thread that stays in the processor's cache
where it can.
"""

import json
import os
import sys
import time
from collections import deque
from pathlib import Path

from benchmarks.device_load import starting
from benchmarks.memory import pieces
from benchmarks.threads import together
from cache_protocol.digests import CHUNK_SIZE
from replica_agent.arenas.cuda.allocation import Allocation, pinned
from replica_agent.arenas.cuda.devices import SLOTS

_STREAMS = 2
_BLOCK = 512 * 2**10  # bytes, as a lane reads


def copy(driver: str, lanes: int, size: int) -> float:
    """Return bytes per second from pinned host memory to the device."""
    device = starting(driver)().open(0)
    count = max(1, size // CHUNK_SIZE)
    memory = Allocation(device, count * CHUNK_SIZE)
    slots = SLOTS * lanes
    host = pinned(device, slots * CHUNK_SIZE)
    streams = [device.open_stream() for _ in range(_STREAMS)]
    free = deque(device.open_event() for _ in range(slots))
    begun = time.perf_counter()
    for n in range(count):
        event = free.popleft()
        device.wait(event)
        slot, stream = n % slots * CHUNK_SIZE, streams[n % _STREAMS]
        device.copy_in(memory.address + n * CHUNK_SIZE, host[slot : slot + CHUNK_SIZE], stream)
        device.record(event, stream)
        free.append(event)
    for stream in streams:
        device.drain(stream)
    return count * CHUNK_SIZE / (time.perf_counter() - begun)


def read(lanes: int, files: list[Path]) -> float:
    """Return bytes per second out of the page cache, once they are in it."""
    _read_all(lanes, files)
    begun = time.perf_counter()
    size = _read_all(lanes, files)
    return size / (time.perf_counter() - begun)


def _read_all(lanes: int, files: list[Path]) -> int:
    fds = [os.open(path, os.O_RDONLY) for path in files]
    queue = pieces(files, _BLOCK)

    def lane() -> None:
        buffer = memoryview(bytearray(_BLOCK))
        for piece in queue:
            into, at = buffer[: piece.span.size], piece.span.begin
            while into:
                done = os.preadv(fds[piece.file], [into], at)
                into, at = into[done:], at + done

    together(lane, lanes)
    for fd in fds:
        os.close(fd)
    return sum(path.stat().st_size for path in files)


if __name__ == "__main__":
    if sys.argv[1] == "copy":
        print(json.dumps(copy(sys.argv[2], *map(int, sys.argv[3:]))))
    else:
        print(json.dumps(read(int(sys.argv[2]), [Path(name) for name in sys.argv[3:]])))
