"""Plans that are kept beside a generation: how ranks of engines read its models.

    <generation>/plans/<model>/<digest of the key>
        {"key": …, "sha256": …, "size": …, "stored": …}     one line about it
        {"plan": 1, …}                                      the document

They go with their generation. Their room is no booking's: it is bounded by a small part of that
of the files, or is small where those are, so that what the ledger decides stays right. A plan that
cannot be read, or is not what was written, is deleted: the next replica traces anew.
"""

import errno
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from itertools import filterfalse
from pathlib import Path

from cache_protocol.errors import DiskError, MalformedError, PlanRefusedError
from cache_protocol.plans import Key, dump_key, parse_key
from cache_protocol.units import show_size
from cache_server.store.durable import delete, disk_errors, open_to_read, write_bytes
from cache_server.store.plan_index import MAX_PLANS, Name, PlanIndex, Record

PART = 64  # plans take at most one such part of what their generation's files take
LEAST_ROOM, MOST_ROOM = 2**16, 256 * 2**20  # bytes, however small or large those are
_HALF = ".new"  # what ``write_bytes`` has not renamed yet
_HEAD = 2**15  # bytes; a line whose every character is escaped has fewer
_NO_RECORD = (MalformedError, ValueError, LookupError, TypeError, RecursionError, OverflowError)
_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # says nothing of the file

log = logging.getLogger(__name__)


class _Spoiled(Exception):  # noqa: N818 - never leaves this file
    """A file is not what was written."""


class KeptPlans:
    """The plans of one generation. Safe for threads; readers wait for nobody."""

    def __init__(self, directory: Path, files: int) -> None:
        """Keep plans in ``directory``, of a generation with ``files`` bytes; no I/O."""
        self._directory = directory
        self.limit = min(MOST_ROOM, max(LEAST_ROOM, files // PART))  # bytes of all documents
        self._writing = threading.RLock()
        self._index = PlanIndex()
        self._looked = False  # whether the index has what was there before

    def all(self, model: str) -> list[Record]:
        """Return what is kept for ``model``, in the order of keys' digests.

        Raises:
            DiskError: the disk refused.
        """
        return [record for _, record in self._records(self._directory / model)]

    def read(self, model: str, digest: str) -> bytes | None:
        """Return the document of a plan; None where there is none. Counts as a use.

        Raises:
            DiskError: this process ran out of descriptors or memory.
        """
        path = self._path(model, digest)
        try:
            document = _read(path)
        except _Spoiled:
            self._drop(path)
            return None
        if document is not None:
            self._index.use(_name(path))
        return document

    def write(self, model: str, key: Key, document: bytes, now: datetime) -> None:
        """Keep the ``document`` of the plan of ``key``, in the place of another one that it had.

        An equal one is left as it is.

        What was used the longest ago goes where there would be too many, or too much.

        Raises:
            PlanRefusedError: it alone takes more than all may, or its engine has more ranks than
                there may be plans.
            CapacityError: the disk is full.
            DiskError: it refused, or the generation is gone.
        """
        self._check_room(key.ranks, len(document))
        record = Record(key, sha256(document).hexdigest(), len(document), now)
        path = self._path(model, key.digest)
        with self._writing:
            self._look()
            there = _sound_head(path)
            if there is None or there.fingerprint != record.fingerprint:
                self._make(path.parent)
                write_bytes(path, _line(record) + document)
                there = record
            self._note(_name(path), there)

    def _check_room(self, ranks: int, size: int) -> None:
        """Raise PlanRefusedError for what could only be kept in the place of its own others."""
        if ranks > MAX_PLANS:
            raise PlanRefusedError(
                f"a plan of {ranks} ranks, where {MAX_PLANS} plans of a model are kept: they would "
                "never be there together"
            )
        if size > self.limit:
            raise PlanRefusedError(
                f"a plan of {show_size(size)}, where all plans of this pipeline may take "
                f"{show_size(self.limit)}: a {PART}th of its files, {show_size(LEAST_ROOM)} to "
                f"{show_size(MOST_ROOM)}"
            )

    def _path(self, model: str, digest: str) -> Path:
        return self._directory / model / digest

    def _make(self, directory: Path) -> None:
        # Not their parents: a generation that has left must not come back as a directory of plans.
        with disk_errors(directory):
            for each in (self._directory, directory):
                each.mkdir(mode=0o700, exist_ok=True)

    def _look(self) -> None:
        """Learn what was there when the node started, without what a crash left half written.

        Once, since every plan is opened for it.
        """
        if not self._looked:
            for directory in _entries(self._directory):
                for half in filter(_is_half, _entries(directory)):
                    delete(half)
                for path, record in self._records(directory):
                    self._index.add(_name(path), record)
            self._looked = True

    def _note(self, newest: Name, record: Record) -> None:
        """Count what was written as used, and delete what is beyond the limits then."""
        self._index.add(newest, record)
        self._index.use(newest)
        for name in [*self._index.surplus(newest, self.limit)]:
            self._delete(self._path(*name))

    def _records(self, directory: Path) -> Iterator[tuple[Path, Record]]:
        for path in filterfalse(_is_half, _entries(directory)):
            try:
                record = _head(path)
            except _Spoiled:
                self._drop(path)
                continue
            if record is not None:
                yield path, record

    def _drop(self, path: Path) -> None:
        """Delete a plan that is not what was written, unless it has been replaced meanwhile."""
        with self._writing:
            try:
                _read(path)
            except _Spoiled as why:
                log.warning("the plan %s/%s is dropped: %s", path.parent.name, path.name, why)
                self._delete(path)

    def _delete(self, path: Path) -> None:
        delete(path)
        self._index.drop(_name(path))


def _name(path: Path) -> Name:
    return Name(path.parent.name, path.name)


def _line(record: Record) -> bytes:
    fields = {
        "key": dump_key(record.key),
        "sha256": record.fingerprint,
        "size": record.size,
        "stored": record.stored.isoformat(),
    }
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def _entries(directory: Path) -> list[Path]:
    """Return what lies in ``directory``, in order."""
    with disk_errors(directory), suppress(FileNotFoundError):
        return sorted(directory.iterdir())
    return []


def _is_half(path: Path) -> bool:
    """Whether ``path`` is a plan that is not there yet; a model may have such a name as well."""
    return path.suffix == _HALF


def _head(path: Path) -> Record | None:
    """Return what ``path`` says of its plan; None where there is none."""
    data = _content(path, _HEAD)
    return None if data is None else _record(path, data)


def _sound_head(path: Path) -> Record | None:
    """Return what ``path`` says of its plan; None where there is none, or none of use."""
    try:
        return _head(path)
    except _Spoiled:
        return None


def _read(path: Path) -> bytes | None:
    """Return the document in ``path``, which is the one that was written; None without one."""
    data = _content(path)
    if data is None:
        return None
    record, document = _record(path, data), data.partition(b"\n")[2]
    if sha256(document).hexdigest() != record.fingerprint:
        raise _Spoiled(f"its {len(document)} bytes are not the {record.size} that were written")
    return document


def _record(path: Path, data: bytes) -> Record:
    try:
        fields = json.loads(data.partition(b"\n")[0].decode())
        key, stored = parse_key(fields["key"]), datetime.fromisoformat(fields["stored"])
        record = Record(key, str(fields["sha256"]), int(fields["size"]), stored.astimezone(UTC))
    except _NO_RECORD as error:
        raise _Spoiled(f"its first line makes no sense: {type(error).__name__}") from error
    if key.digest != path.name:
        raise _Spoiled("its first line is about another key")
    return record


def _content(path: Path, limit: int = -1) -> bytes | None:
    """Return the first ``limit`` bytes of ``path``, by default all; None where there is no file."""
    try:
        with open(open_to_read(path), "rb") as file:
            return file.read(limit)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in _OURS:
            raise DiskError(f"{path.name}: {error.strerror}") from error
        raise _Spoiled(error.strerror or repr(error)) from error
