"""The manifest: the files of one generation, and where each can be read.

    {"wire": 1, "pipeline": "voice", "generation": "…", "lease": {"id", "expires"},
     "chunk_size": 8388608,
     "models": {"asr": {"source", "revision", "files": [
        {"path", "size", "sha256": "…" | null, "urls": [...], "digests": "…", "verdict": "…",
         "git_sha1"?}]}},
     "ticket_life"?: 900, "source"?: "pass-through", "reason"?: "…", "local"?: {"socket", "host"}}

Parsing takes nothing on trust: every name, size and count is checked before it is used, and a
field that this version does not know is ignored, so that an older agent reads a newer node.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import MalformedError
from cache_protocol.json_bounds import check_marks
from cache_protocol.local import Offer, parse_offer
from cache_protocol.names import check_model, check_path, check_paths, check_pipeline, shown

WIRE = 1
# Where a node has the bytes from: its disk, or the origin, each time that they are asked for.
CACHE, PASS_THROUGH = "cache", "pass-through"
MAX_MANIFEST = 64 * 2**20  # bytes; 100 000 files with three signed URLs each
MAX_FILES = 100_000  # in one pipeline
MAX_FILE_SIZE = 2**44  # bytes, 16 TiB: the largest file of ext4 with 4 KiB blocks
_GENERATION = re.compile(r"[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
# What Python says when a value is not of the form; OverflowError is an instant near year 1.
_WRONG_FORM = (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError)
# Seconds that URLs are good for where a manifest does not say it. Long enough for 100 GB at
# 1 Gbit/s, since only the start of a request counts.
TICKET_LIFE = 900
MAX_LIFE = 10**9  # seconds; more is no time but a mistake
MAX_TEXT = 16384  # characters of any one field
_URL = re.compile(rf"[!-~]{{1,{MAX_TEXT}}}")  # visible ASCII: nothing that could split a request


@dataclass(frozen=True, slots=True)
class File:
    """One file of a model."""

    path: str  # below the model's directory
    size: int  # bytes
    sha256: str | None  # hex; None while nobody knows it: see ``verdict``
    urls: tuple[str, ...]  # the bytes; any of them
    digests: str  # URL of the digest table
    verdict: str  # URL of the 48 bytes that confirm the file
    git_sha1: str | None = None  # hex, git's blob id, where that is what the origin promises


@dataclass(frozen=True, slots=True)
class Model:
    """One model of a pipeline."""

    source: str
    revision: str
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(f.size for f in self.files)


@dataclass(frozen=True, slots=True)
class Lease:
    """A reader's hold on the generation."""

    id: str
    expires: datetime  # UTC


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of one generation of one pipeline."""

    pipeline: str
    generation: str  # 32 hex digits
    lease: Lease
    models: Mapping[str, Model]
    source: str = CACHE  # or PASS_THROUGH: then nobody but the reader can confirm a file
    reason: str | None = None  # why it is not the cache
    ticket_life: int = TICKET_LIFE  # seconds from now that the URLs are good for
    local: Offer | None = None  # where the node lends descriptors on its own host

    @property
    def size(self) -> int:
        """Bytes of all models."""
        return sum(m.size for m in self.models.values())

    def files(self) -> Iterator[tuple[str, File]]:
        """Yield ``(model, file)`` in the order of the manifest."""
        for name, model in self.models.items():
            for file in model.files:
                yield name, file


def dump_manifest(manifest: Manifest) -> dict[str, Any]:
    """Return ``manifest`` as JSON values."""
    fields: dict[str, Any] = {
        "wire": WIRE,
        "pipeline": manifest.pipeline,
        "generation": manifest.generation,
        "lease": {
            "id": manifest.lease.id,
            "expires": manifest.lease.expires.isoformat().replace("+00:00", "Z"),
        },
        "chunk_size": CHUNK_SIZE,
        "ticket_life": manifest.ticket_life,
        "models": {name: _dump_model(model) for name, model in manifest.models.items()},
    }
    if manifest.source != CACHE:
        fields["source"] = manifest.source
    if manifest.reason is not None:
        fields["reason"] = manifest.reason
    if manifest.local is not None:
        fields["local"] = manifest.local._asdict()
    return fields


def _dump_model(model: Model) -> dict[str, Any]:
    files = [_dump_file(f) for f in model.files]
    return {"source": model.source, "revision": model.revision, "files": files}


def _dump_file(file: File) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "path": file.path,
        "size": file.size,
        "sha256": file.sha256,
        "urls": list(file.urls),
        "digests": file.digests,
        "verdict": file.verdict,
    }
    return fields if file.git_sha1 is None else fields | {"git_sha1": file.git_sha1}


def parse_manifest(data: bytes) -> Manifest:
    """Return the manifest that ``data`` holds.

    Raises:
        MalformedError: not JSON, or of too many values; another wire version or chunk size, a
            field missing or of the wrong type, a name that is unsafe as a path, or a size or count
            above its bound.
    """
    if len(data) > MAX_MANIFEST:
        raise MalformedError(f"a manifest of {len(data)} bytes is above {MAX_MANIFEST}")
    check_marks(data)
    try:
        fields = json.loads(data.decode())
        if fields["wire"] != WIRE or fields["chunk_size"] != CHUNK_SIZE:
            raise MalformedError(
                f"the node speaks wire {shown(repr(fields['wire']))} with chunks of "
                f"{shown(repr(fields['chunk_size']))}; this program speaks {WIRE} with {CHUNK_SIZE}"
            )
        models = {check_model(name): _model(m) for name, m in fields["models"].items()}
        manifest = Manifest(
            pipeline=check_pipeline(fields["pipeline"]),
            generation=_matching(_GENERATION, fields["generation"]),
            lease=Lease(_text(fields["lease"]["id"]), _instant(fields["lease"]["expires"])),
            models=models,
            source=_text(fields.get("source", CACHE)),
            reason=None if (reason := fields.get("reason")) is None else _text(reason),
            ticket_life=_life(fields.get("ticket_life", TICKET_LIFE)),
            local=None if (offer := fields.get("local")) is None else parse_offer(offer),
        )
    except _WRONG_FORM as error:
        # Not repr(error): that of a UnicodeDecodeError holds the whole manifest.
        raise MalformedError(f"not a manifest: {type(error).__name__}: {error}") from error
    if sum(len(m.files) for m in models.values()) > MAX_FILES:
        raise MalformedError(f"a manifest of more than {MAX_FILES} files")
    return manifest


def _model(fields: Mapping[str, Any]) -> Model:
    files = tuple(_file(f) for f in _list(fields["files"]))
    check_paths(f.path for f in files)
    return Model(_text(fields["source"]), _text(fields["revision"]), files)


def _file(fields: Mapping[str, Any]) -> File:
    size, sha256 = fields["size"], fields["sha256"]
    if type(size) is not int or not 0 <= size <= MAX_FILE_SIZE:
        raise MalformedError(
            f"a file of {shown(repr(size))} bytes is not within 0 and {MAX_FILE_SIZE}"
        )
    urls = tuple(_matching(_URL, u) for u in _list(fields["urls"]))
    if not urls:
        raise MalformedError("a file without a URL")
    return File(
        path=_path(fields["path"]),
        size=size,
        sha256=None if sha256 is None else _matching(_SHA256, sha256),
        urls=urls,
        digests=_matching(_URL, fields["digests"]),
        verdict=_matching(_URL, fields["verdict"]),
        git_sha1=None if (sha1 := fields.get("git_sha1")) is None else _matching(_SHA1, sha1),
    )


def _life(value: object) -> int:
    if type(value) is not int or not 0 < value <= MAX_LIFE:
        raise MalformedError(f"a ticket's life of {shown(repr(value))} s is none")
    return value


def _list(value: object) -> list[Any]:
    if type(value) is not list:  # a text can be walked as well, letter by letter
        raise MalformedError("a field that must be a list is not")
    return value


def _path(value: object) -> str:
    if type(value) is not str:
        raise MalformedError("a path is not a text")
    return check_path(value)


def _text(value: object) -> str:
    if type(value) is not str or len(value) > MAX_TEXT or not value.isprintable():
        raise MalformedError("a field that must be a short printable text is not")
    return value


def _matching(pattern: re.Pattern[str], value: object) -> str:
    if type(value) is not str or not pattern.fullmatch(value):
        raise MalformedError(f"a field is not of the form {pattern.pattern}")
    return value


def _instant(value: object) -> datetime:
    instant = datetime.fromisoformat(_text(value))
    if instant.tzinfo is None:
        raise MalformedError(f"{shown(str(value))} does not say its time zone")
    return instant.astimezone(UTC)
