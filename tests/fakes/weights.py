"""Bytes for tests: cheap, different in every chunk, and the same on every run."""

import random

from cache_protocol.digests import CHUNK_SIZE


def noise(size, seed=0):
    """Return ``size`` bytes; no two chunks of it are alike."""
    block = random.Random(seed).randbytes(2**16)
    chunks = -(-size // CHUNK_SIZE)
    body = (c.to_bytes(8, "big") + block * (CHUNK_SIZE // len(block)) for c in range(chunks))
    return b"".join(b[:CHUNK_SIZE] for b in body)[:size]


def chunks(count, seed=0, *, more=0):
    """Return ``count`` whole chunks of noise and ``more`` bytes."""
    return noise(count * CHUNK_SIZE + more, seed)
