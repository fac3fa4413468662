"""Hold a whole file against what its origin promised, where the node cannot.

A node that did not keep the file has no verdict on it. The digests of its chunks vouch for the
way from the node to here; where the bytes came from is proved by the origin's sha256, or by git's
blob id where the origin has that instead, over the file as it is in place. An origin that
promises neither gets no more than the digests of the chunks. One core hashes 1.4 GB/s.
"""

from collections.abc import Callable
from hashlib import sha256

from cache_protocol.digests import git_blob_hash
from cache_protocol.ranges import Span, cut
from replica_agent.transfer import FileState

PIECE = 4 * 2**20  # bytes hashed between two looks whether anybody still wants to know


def mismatch(state: FileState, check: Callable[[], None]) -> str | None:
    """Return how the bytes in place differ from what was promised; None when they do not.

    ``check`` is called for every piece, and raises to end the work.
    """
    file = state.file
    promised, hasher = file.sha256, sha256()
    if promised is None:
        promised, hasher = file.git_sha1, git_blob_hash(file.size)
    if promised is None:
        return None
    for piece in cut(Span(0, file.size), PIECE):
        check()
        hasher.update(state.arena.read(state.number, piece))
    found = hasher.hexdigest()
    if found == promised:
        return None
    return f"{state}: the origin promised {promised}, its {file.size} bytes have {found}"
