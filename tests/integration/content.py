"""Bytes to serve, and what they should turn into."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from benchmarks.checkpoints import data
from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.ranges import Span


def chunks(count: int, *, seed: int = 0, more: int = 0) -> bytes:
    """Return ``count`` chunks and ``more`` bytes; no two chunks are alike."""
    return data(seed, 0, Span(0, count * CHUNK_SIZE + more)).tobytes()


def digests(files: Mapping[str, bytes], model: str = "m") -> dict[str, str]:
    """Return what a replica says of ``files``: sha256 by model and path."""
    return {f"{model}/{path}": hashlib.sha256(d).hexdigest() for path, d in files.items()}


def tree(directory: Path) -> dict[str, bytes]:
    """Return every file below ``directory``, hidden ones too, by its path."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def write(directory: Path, files: Mapping[str, bytes]) -> Path:
    """Write ``files`` below ``directory`` and return it."""
    for path, content in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
    return directory
