"""Repositories of the stand-in hub: commits of files on disk, and names that move between them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cache_protocol.digests import git_blob_hash

_LFS_SUFFIXES = (".safetensors", ".bin", ".dat", ".gguf", ".pt", ".onnx", ".model")
_LFS_SIZE = 10 * 2**20  # bytes; the hub refuses larger files outside LFS
_CACHE = ".digests.json"  # beside the repositories of a served directory


@dataclass(frozen=True, slots=True)
class Blob:
    """The content of one file."""

    file: Path
    size: int
    oid: str  # git blob id; of the pointer where the content is in LFS
    sha256: str | None  # only in LFS

    @property
    def etag(self) -> str:
        return f'"{self.sha256 or self.oid}"'

    def row(self, path: str) -> dict[str, Any]:
        """Return the item of a tree listing."""
        row: dict[str, Any] = {"type": "file", "path": path, "size": self.size, "oid": self.oid}
        if self.sha256 is not None:
            pointer = len(_pointer(self.sha256, self.size))
            row["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": pointer}
        return row


@dataclass(slots=True)
class Repository:
    """One model repository."""

    id: str
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)  # branch or tag -> commit
    gated: bool = False  # listing is public, files need a token
    private: bool = False  # without a token it does not exist

    def commit(self, tree: Mapping[str, Blob], branch: str) -> str:
        """Add a commit of ``tree``, move ``branch`` to it and return it."""
        rows = [(path, blob.oid) for path, blob in sorted(tree.items())]
        commit = hashlib.sha1(json.dumps([self.id, branch, rows]).encode()).hexdigest()
        self.commits[commit] = dict(sorted(tree.items()))
        self.refs[branch] = commit
        return commit

    def resolve(self, revision: str) -> str | None:
        """Return the commit that ``revision`` names."""
        return self.refs.get(revision) or (revision if revision in self.commits else None)


def make_blob(file: Path, known: dict[str, list[Any]] | None = None) -> Blob:
    """Return the blob of ``file``; ``known`` remembers digests by name, size and mtime."""
    info = file.stat()
    lfs = file.name.endswith(_LFS_SUFFIXES) or info.st_size >= _LFS_SIZE
    known = {} if known is None else known
    stamp = [info.st_size, info.st_mtime_ns]
    entry = known.get(str(file))
    if entry is None or entry[:2] != stamp:
        entry = known[str(file)] = [*stamp, _digest(file, info.st_size, lfs)]
    digest = entry[2]
    if not lfs:
        return Blob(file, info.st_size, digest, None)
    pointer = _pointer(digest, info.st_size)
    oid = git_blob_hash(len(pointer))
    oid.update(pointer)
    return Blob(file, info.st_size, oid.hexdigest(), digest)


def _digest(file: Path, size: int, lfs: bool) -> str:  # noqa: FBT001
    with file.open("rb") as stream:
        return hashlib.file_digest(
            stream, hashlib.sha256 if lfs else lambda: git_blob_hash(size)
        ).hexdigest()


def _pointer(sha256: str, size: int) -> bytes:
    # Source: git-lfs, docs/spec.md, "The Pointer".
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    )


def repositories_below(root: Path) -> dict[str, Repository]:
    """Return a repository for each ``root/<org>/<name>/``; digests are cached in ``root``."""
    cache = root / _CACHE
    known: dict[str, list[Any]] = json.loads(cache.read_text()) if cache.exists() else {}
    found = {}
    for directory in sorted(d for d in root.glob("*/*") if d.is_dir()):
        repository = Repository(f"{directory.parent.name}/{directory.name}")
        files = sorted(f for f in directory.rglob("*") if f.is_file())
        repository.commit(
            {str(f.relative_to(directory)): make_blob(f, known) for f in files}, "main"
        )
        found[repository.id] = repository
    cache.write_text(json.dumps(known))
    return found
