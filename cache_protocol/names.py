"""What a pipeline, a model and a file may be called, so that a name is safe as a path anywhere.

The server checks before it writes a byte, the agent before it maps one: neither trusts the
other, and neither trusts the origin.
"""

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise

from cache_protocol.errors import MalformedError

PIPELINE = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MAX_PATH = 1024  # bytes; S3's limit for a key
MAX_SEGMENT = 255  # bytes; NAME_MAX of ext4, xfs and tmpfs
# How an engine finds its agent, and where weights are when that fails: a file of the agent's that
# lies beside a model's own. A repository that brings one would say so in its place.
PLACE = ".warmline.json"
_OURS = (PLACE, f"{PLACE}.new")
# C0 and C1 controls (U+009B starts a terminal command), line separators, and the embeddings,
# overrides and isolates that make a name read as another one (Unicode UAX #9).
_FORBIDDEN = re.compile(r"[\\\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


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
            backslash, a control or text direction character, not encodable as UTF-8, or with a
            name that the agent gives a file of its own.
    """
    try:
        encoded = path.encode()
    except UnicodeEncodeError as error:
        raise MalformedError(f"file name {shown(path)} is not Unicode text") from error
    segments = path.split("/")
    if any(s in ("", ".", "..") for s in segments):
        raise MalformedError(f"file name {shown(path)} leaves its directory or has empty parts")
    if _FORBIDDEN.search(path):
        raise MalformedError(f"file name {shown(path)} has a backslash or control character")
    if any(s.lower() in _OURS for s in segments):
        raise MalformedError(f"file name {shown(path)} is kept for Warmline itself: exclude it")
    if len(encoded) > MAX_PATH or any(len(s.encode()) > MAX_SEGMENT for s in segments):
        raise MalformedError(
            f"file name {shown(path)} has {len(encoded)} bytes; at most {MAX_PATH} in all and "
            f"{MAX_SEGMENT} between slashes are allowed"
        )
    return path


def check_paths(paths: Iterable[str]) -> None:
    """Check every path, and that all of them can live in one directory.

    Raises:
        MalformedError: a bad path, two that differ at most in case or in how an accent is
            encoded (one file on a case-insensitive or normalising file system), or one that is
            the directory of another.
    """
    seen: dict[str, str] = {}
    for path in paths:
        folded = _folded(check_path(path))
        if folded in seen:
            raise MalformedError(f"{shown(path)} collides with {shown(seen[folded])}")
        seen[folded] = path
    # With NUL for the slash a file sorts right before everything below it, however deep.
    ordered = sorted(folded.replace("/", "\0") for folded in seen)
    for above, below in pairwise(ordered):
        if below.startswith(above + "\0"):
            path = seen[below.replace("\0", "/")]
            raise MalformedError(f"{shown(path)} lies below another file")


def _folded(path: str) -> str:
    # Canonical caseless matching: the Unicode Standard, section 3.13, D145.
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def shown(text: str) -> str:
    """Return ``text`` for a message: quoted, printable, and never long."""
    return ascii(text if len(text) <= 120 else f"{text[:100]}…{len(text)} characters")
