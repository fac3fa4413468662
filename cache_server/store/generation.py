"""One generation on disk: laid out, filled, published, given up.

Published means that ``generation.json`` is in place: every byte of every file is on disk, synced,
and confirmed by its sha256. It is the last thing that a fill writes and the first that goes.
"""

import json
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from cache_protocol.errors import CacheError, DiskError
from cache_server.core.content import Content, dump_content, load_content
from cache_server.core.ledger import room
from cache_server.core.standing import Standing
from cache_server.crash_points import reached
from cache_server.store.durable import disk_errors, sync_directory, write_json
from cache_server.store.kept_plans import KeptPlans
from cache_server.store.stored_file import Progress, StoredFile


class Generation:
    """The files of one generation, and what its readers and its fill share."""

    def __init__(self, directory: Path, content: Content, resolved: datetime) -> None:
        """Describe the generation in ``directory``; no I/O."""
        self.id = directory.name
        self.directory = directory
        self.content = content
        self.resolved = resolved  # UTC
        self.published = False
        self.restricted = content.restricted
        self.standing = Standing(resolved)  # of a restricted one; its resolution was a yes
        self.progress = Progress(threading.Condition())
        self.files = tuple(
            StoredFile(n, model.name, file, directory, self.progress)
            for n, (model, file) in enumerate(content.files())
        )
        self.plans = KeptPlans(directory / "plans", self.room)
        self._by_name = {(f.model, f.origin.path): f for f in self.files}

    @property
    def filled(self) -> int:
        """Bytes that are there."""
        return sum(f.map.filled for f in self.files)

    @property
    def room(self) -> int:
        """Bytes that it takes on disk when it is whole."""
        return room([f.size for f in self.files])

    @property
    def begun(self) -> bool:
        """Whether room on disk has been taken: from the first moment of a layout on."""
        return self.published or (self.directory / "digests").is_dir()

    def file(self, model: str, path: str) -> StoredFile:
        """Return one file; FileNotFoundError if there is none of that name."""
        try:
            return self._by_name[model, path]
        except KeyError:
            raise FileNotFoundError(f"{model}/{path}") from None

    # On disk.

    @classmethod
    def create(cls, slot: Path, content: Content, now: datetime) -> Self:
        """Write down what a new generation consists of. Nothing is allocated yet."""
        directory = slot / content.generation
        with disk_errors(slot):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fields = {"content": dump_content(content), "resolved": now.isoformat()}
        write_json(directory / "content.json", fields)
        return cls(directory, content, now)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Return the generation that a process before this one wrote.

        Raises:
            DiskError: what is there is not a generation.
        """
        try:
            fields = json.loads((directory / "content.json").read_bytes())
            content = load_content(fields["content"])
            resolved = datetime.fromisoformat(fields["resolved"]).astimezone(UTC)
            self = cls(directory, content, resolved)
            if content.generation != directory.name:
                raise DiskError(f"{directory.name} holds the content of {content.generation}")
            self._load_standing()
            self._load_files()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DiskError(f"{directory.name} is not a generation: {error!r}") from error
        return self

    def allocate(self) -> None:
        """Give every file its full size, so that a full disk says so before the first byte.

        What an earlier fill brought stays, as far as it is known to be good: after a crash of
        the machine every chunk is checked first.

        Raises:
            CapacityError: the file system has no room; what was allocated is left behind.
        """
        self.progress.failure = None
        if self._boot() != _this_boot():
            self._check_chunks()
        self._take_back_declaration()
        with disk_errors(self.directory):
            (self.directory / "digests").mkdir(mode=0o700, exist_ok=True)
        for file in self.files:
            file.allocate()
            reached("fill.laying-out")
        write_json(self.directory / "filling.json", {"boot": _this_boot()})
        reached("fill.laid-out")

    def publish(self) -> None:
        """Declare that everything is there. Every file is whole, confirmed and synced."""
        if any(f.sha256 is None or not f.map.whole for f in self.files):
            raise AssertionError("a generation with unconfirmed files is never published")
        with disk_errors(self.directory):
            for directory in {p for f in self.files for p in (f.path.parent, f.table_path.parent)}:
                _sync_up_to(directory, self.directory)
        reached("publish.synced")
        write_json(self.directory / "generation.json", {"files": list(self._dump_files())})
        reached("publish.renamed")
        (self.directory / "filling.json").unlink(missing_ok=True)
        self.published = True

    def keep_standing(self) -> None:
        """Write down who may read it: a restart must not make a no or an old yes forgotten.

        Raises:
            DiskError: not written; what is in memory counts until the next start.
        """
        said = self.standing
        fields = {"confirmed": said.confirmed.isoformat(), "denied": said.denied}
        write_json(self.directory / "access.json", fields)

    def fail(self, error: CacheError | None) -> None:
        """Tell every waiting reader why no more bytes come; None lets them wait again."""
        with self.progress.changed:
            self.progress.failure = error
            self.progress.changed.notify_all()

    def leave(self, trash: Path) -> Path:
        """Give the generation up: move it to ``trash``, and return the place to delete.

        Open descriptors stay readable, until ``end_loans``. One rename takes it out of its slot,
        so that a crash leaves all of it or nothing.

        Raises:
            DiskError: the disk refused; what is still in its slot can be served again.
        """
        with self.progress.changed:
            self.progress.gone = True
            self.progress.changed.notify_all()
        going = trash / f"{self.id}.{secrets.token_hex(4)}"
        try:
            self._move(trash, going)
        except CacheError:
            if self.directory.exists():
                self.progress.gone = False
                raise
            # It has moved; only whether that outlives a crash of the machine is not known. Where
            # it does not, the next start finds it and drops it, as whatever nobody wants.
        reached("remove.begun")
        return going

    def end_loans(self, place: Path) -> None:
        """Cut off, after ``leave`` to ``place``, the files that other processes may have open.

        A deleted file keeps its room until the last descriptor is closed, and those of others are
        not ours to close. Readers see the end of the file: they read, and map nothing.

        Raises:
            DiskError: the disk refused.
        """
        for file in self.files:
            if file.lent:
                file.ended = True  # before: a reader of ours that finds it short asks why
                going = place / file.path.relative_to(self.directory)
                with disk_errors(going), suppress(FileNotFoundError):
                    os.truncate(going, 0)

    def _move(self, trash: Path, going: Path) -> None:
        with disk_errors(self.directory):
            trash.mkdir(mode=0o700, exist_ok=True)
            if self.directory.exists():  # else somebody was faster: it is gone as wished
                self.directory.rename(going)
                sync_directory(self.directory.parent)

    def _take_back_declaration(self) -> None:
        """Withdraw ``generation.json``: something of what was published turned out to be wrong.

        Before a file is touched: zeros in the place of a lost file must never be taken for whole.
        """
        declaration = self.directory / "generation.json"
        if not declaration.exists():
            return
        # First: what follows is a fill, and a crash of the machine must be noticed in it.
        write_json(self.directory / "filling.json", {"boot": _this_boot()})
        with disk_errors(declaration):
            declaration.unlink(missing_ok=True)
            sync_directory(self.directory)
        reached("damage.declared")

    def _load_standing(self) -> None:
        try:
            fields = json.loads((self.directory / "access.json").read_bytes())
        except FileNotFoundError:
            return
        confirmed = datetime.fromisoformat(fields["confirmed"]).astimezone(UTC)
        self.standing = Standing(confirmed, fields["denied"])

    def _load_files(self) -> None:
        for file in self.files:
            file.load()
        try:
            fields = json.loads((self.directory / "generation.json").read_bytes())
        except FileNotFoundError:
            return
        for file, stored in zip(self.files, fields["files"], strict=True):
            file.sha256 = bytes.fromhex(stored["sha256"])
        self.published = all(f.map.whole for f in self.files)
        if not self.published:  # a file is missing or was cut short behind our back
            for file in self.files:
                file.sha256 = None

    def _dump_files(self) -> Iterator[Mapping[str, Any]]:
        for file in self.files:
            if file.sha256 is not None:
                yield {
                    "model": file.model,
                    "path": file.origin.path,
                    "size": file.size,
                    "sha256": file.sha256.hex(),
                }

    def _check_chunks(self) -> None:
        for file in self.files:
            for chunk in range(file.map.count):
                if file.map.has(chunk) and not file.matches(chunk):
                    file.drop(range(chunk, chunk + 1))

    def _boot(self) -> str:
        try:
            return str(json.loads((self.directory / "filling.json").read_bytes())["boot"])
        except FileNotFoundError:
            # Published once, or never begun: what the tables say was synced, or is nothing.
            return _this_boot()


def _sync_up_to(directory: Path, top: Path) -> None:
    while directory != top:
        sync_directory(directory)
        directory = directory.parent
    sync_directory(top)


def _this_boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
