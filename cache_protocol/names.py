"""What a pipeline, a model and a file may be called, so that a name is safe as a path anywhere.

The server checks before it writes a byte, the agent before it maps one: neither trusts the
other, and neither trusts the origin.
"""

import re
from collections.abc import Iterable

from cache_protocol.errors import MalformedError

PIPELINE = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MAX_PATH = 1024  # bytes; S3's limit for a key
MAX_SEGMENT = 255  # bytes; NAME_MAX of ext4, xfs and tmpfs


def check_pipeline(pipeline: str) -> str:
    """Return ``pipeline`` if it can be the id of one; MalformedError otherwise."""
    if not PIPELINE.fullmatch(pipeline):
        raise MalformedError(f"pipeline id {shown(pipeline)} is not {PIPELINE.pattern}")
    return pipeline


def check_model(model: str) -> str:
    """Return ``model`` if it can be the name of one; MalformedError otherwise."""
    if not MODEL.fullmatch(model):
        raise MalformedError(f"model name {shown(model)} is not {MODEL.pattern}")
    return model


def check_path(path: str) -> str:
    """Return ``path`` if it names a file below a directory and stays there.

    Raises:
        MalformedError: empty, absolute, over-long, with ``..``, ``.`` or an empty segment, a
            backslash, a control character, or not encodable as UTF-8.
    """
    try:
        encoded = path.encode()
    except UnicodeEncodeError as error:
        raise MalformedError(f"file name {shown(path)} is not Unicode text") from error
    segments = path.split("/")
    if any(s in ("", ".", "..") for s in segments):
        raise MalformedError(f"file name {shown(path)} leaves its directory or has empty parts")
    if "\\" in path or any(ord(c) < 0x20 or ord(c) == 0x7F for c in path):
        raise MalformedError(f"file name {shown(path)} has a backslash or control character")
    if len(encoded) > MAX_PATH or any(len(s.encode()) > MAX_SEGMENT for s in segments):
        raise MalformedError(
            f"file name {shown(path)} has {len(encoded)} bytes; at most {MAX_PATH} in all and "
            f"{MAX_SEGMENT} between slashes are allowed"
        )
    return path


def check_paths(paths: Iterable[str]) -> None:
    """Check every path, and that all of them can live in one directory.

    Raises:
        MalformedError: a bad path, two that differ at most in case (one file on a
            case-insensitive file system), or one that is the directory of another.
    """
    seen: dict[str, str] = {}
    for path in paths:
        folded = check_path(path).casefold()
        if folded in seen:
            raise MalformedError(f"{shown(path)} collides with {shown(seen[folded])}")
        seen[folded] = path
    for folded, path in seen.items():
        parts = folded.split("/")
        for n in range(1, len(parts)):
            if "/".join(parts[:n]) in seen:
                raise MalformedError(f"{shown(path)} lies below another file")


def shown(text: str) -> str:
    """Return ``text`` for a message: quoted, printable, and never long."""
    return ascii(text if len(text) <= 120 else f"{text[:100]}…{len(text)} characters")
