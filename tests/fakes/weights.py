"""Bytes for tests: cheap, different in every chunk, and the same on every run."""

import json
import random
import struct

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


def safetensors(count, seed=0, *, more=0):
    """Return a checkpoint of one tensor whose file has ``count`` chunks and ``more`` bytes."""
    size = count * CHUNK_SIZE + more
    fields = {"t": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}
    for _ in range(3):  # until the digits of the numbers stop to change the header's length
        header = json.dumps(fields).encode()
        left = size - 8 - len(header)
        fields = {"t": {"dtype": "U8", "shape": [left], "data_offsets": [0, left]}}
    return struct.pack("<Q", len(header)) + header + noise(left, seed)
