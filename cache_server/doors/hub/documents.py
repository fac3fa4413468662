"""The JSON that the hub's clients read, made of a repository. Pure.

Nothing in it speaks of Xet: a client that meets ``xetHash`` asks another service for the bytes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from cache_server.doors.hub.repositories import Entry, Repository

PAGE = 1000  # rows of a tree in one answer; the hub's own number
_POINTER = (
    "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"  # git-lfs, docs/spec.md
)

Json = dict[str, Any]
Place = tuple[str, Entry | None]  # a file, or a directory


def model_info(repository: Repository, *, blobs: bool) -> Json:
    """Return what a repository is; with ``blobs`` the size and digest of each file."""
    return {
        "_id": repository.commit[:24],
        "id": repository.id,
        "modelId": repository.id,
        "sha": repository.commit,
        "private": False,
        "gated": False,
        "disabled": False,
        "tags": [],
        "siblings": [_sibling(p, e, blobs=blobs) for p, e in repository.files.items()],
        "usedStorage": sum(e.origin.size for e in repository.files.values()),
    }


def refs(found: Iterable[Repository], default: str) -> Json:
    """Return the revisions that the repositories ``found``, all of one id, answer to."""
    targets = {name: repository.commit for repository in found for name in repository.names}
    return {
        "branches": [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit}
            for name, commit in ({default: _first(found)} | targets).items()
            if not name.startswith("refs/") and name != commit
        ],
        "tags": [],
        "converts": [],
    }


def tree(repository: Repository, below: str, *, recursive: bool) -> list[Place]:
    """Return what lies in a directory, "" for the top; nothing where there is no such directory."""
    prefix = f"{below}/" if below else ""
    places: dict[str, Entry | None] = {}
    for path, entry in repository.files.items():
        if not path.startswith(prefix):
            continue
        for directory in _directories(path, prefix):
            places.setdefault(directory, None)
            if not recursive:
                break
        else:
            places[path] = entry
    return list(places.items())


def rows(places: Iterable[Place]) -> list[Json]:
    """Return ``places`` as they stand in an answer."""
    return [_directory(path) if e is None else _file(path, e) for path, e in places]


def paths_info(repository: Repository, paths: Iterable[str]) -> list[Json]:
    """Return the rows of those of ``paths`` that are there, files and directories."""
    directories = {d for path in repository.files for d in _directories(path, "")}
    wanted = dict.fromkeys(path.strip("/") for path in paths)
    files = repository.files
    return rows((p, files.get(p)) for p in wanted if p in files or p in directories)


def next_page(url: str, query: Mapping[str, str], cursor: int) -> str:
    """Return the ``Link`` to the rows from ``cursor`` on."""
    fields = {**query, "cursor": str(cursor)}
    line = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in fields.items())
    return f'<{url}?{line}>; rel="next"'


def _first(found: Iterable[Repository]) -> str:
    return next(iter(found)).commit


def _sibling(path: str, entry: Entry, *, blobs: bool) -> Json:
    row = _file(path, entry)
    if not blobs:
        return {"rfilename": path}
    more = {"lfs": _lfs(entry, "sha256")} if entry.is_lfs else {}
    return {"rfilename": path, "size": row["size"], "blobId": row["oid"], **more}


def _file(path: str, entry: Entry) -> Json:
    row = {"type": "file", "path": path, "size": entry.origin.size, "oid": _oid(entry)}
    return row | ({"lfs": _lfs(entry, "oid")} if entry.is_lfs else {})


def _lfs(entry: Entry, name: str) -> Json:
    size = entry.origin.size
    return {name: entry.tag, "size": size, "pointerSize": len(_pointer(entry))}


def _oid(entry: Entry) -> str:
    """Return the git id of what git itself has: a small file, or the pointer to a large one."""
    if not entry.is_lfs:
        return entry.tag
    pointer = _pointer(entry).encode()
    blob = b"blob %d\0%b" % (len(pointer), pointer)
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest()


def _pointer(entry: Entry) -> str:
    return _POINTER.format(entry.tag, entry.origin.size)


def _directories(path: str, prefix: str) -> Iterator[str]:
    """Yield the directories of ``path`` below ``prefix``, the outermost first."""
    at = path.find("/", len(prefix))
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


def _directory(path: str) -> Json:
    oid = hashlib.sha1(path.encode(), usedforsecurity=False).hexdigest()
    return {"type": "directory", "path": path, "size": 0, "oid": oid}
