"""Bring one chunk anew that is not what its digest says: the disk lied, or somebody wrote to it."""

import os
from collections.abc import Callable

from cache_protocol.digests import chunk_digest, chunk_span
from cache_protocol.errors import IntegrityError
from cache_protocol.names import shown
from cache_server.crash_points import reached
from cache_server.fill.pieces import Pause, RemoteFile, pieces
from cache_server.store.durable import disk_errors
from cache_server.store.stored_file import PIECE, StoredFile


def repair_chunk(
    remote: RemoteFile,
    file: StoredFile,
    chunk: int,
    *,
    pause: Pause,
    pulled: Callable[[int], None] = lambda _: None,
) -> None:
    """Pull ``chunk`` of ``file`` from its origin and put it in place, synced.

    ``pulled`` is told the bytes that came from the origin, piece by piece.

    Raises:
        IntegrityError: the origin's bytes do not have the recorded digest, in two tries.
        OriginError: the origin says no, or went silent.
    """
    span = chunk_span(chunk, file.size)
    data, buffer = memoryview(bytearray(span.size)), memoryview(bytearray(PIECE))
    for _ in range(2):
        for at, piece in pieces(remote, span, buffer=buffer, pause=pause):
            data[at - span.begin : at - span.begin + len(piece)] = piece
            pulled(len(piece))
        if chunk_digest(data) == file.map.digest(chunk):
            _put(file, span.begin, data)
            return
    raise IntegrityError(
        f"{shown(file.origin.path)}: chunk {chunk} is wrong on disk, and twice the origin sent "
        "other bytes than it did at the fill"
    )


def _put(file: StoredFile, at: int, data: memoryview) -> None:
    with disk_errors(file.path):
        fd = os.open(file.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        file.write(at, data, fd)
        reached("repair.chunk-written")
        with disk_errors(file.path):
            os.fdatasync(fd)
    finally:
        os.close(fd)
