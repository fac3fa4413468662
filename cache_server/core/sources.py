"""Where a model lives, as the operator writes it.

hf://org/name[@revision]     a Hugging Face repository; one-segment names work too
s3://bucket/prefix           every object below the prefix
file:///directory            a directory on this machine
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from cache_protocol.errors import MalformedError
from cache_protocol.names import shown


class Scheme(StrEnum):
    """The kinds of origin."""

    HF = "hf"
    S3 = "s3"
    FILE = "file"


# Sources: huggingface_hub validate_repo_id; Amazon S3, "Bucket naming rules".
_SEGMENT = r"\w(?:[\w.-]{0,94}\w)?"
_HF = re.compile(rf"((?:{_SEGMENT}/)?{_SEGMENT})(?:@([^\s@]{{1,255}}))?", re.ASCII)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed source."""

    scheme: Scheme
    name: str  # repository id, bucket, or absolute directory
    prefix: str = ""  # S3 only: without leading or trailing slash
    revision: str | None = None  # Hugging Face only: branch, tag or commit

    def __str__(self) -> str:
        """Return the source without its revision, as it stands in a manifest."""
        match self.scheme:
            case Scheme.S3:
                return f"s3://{self.name}/{self.prefix}".rstrip("/")
            case _:
                return f"{self.scheme}://{self.name}"


def parse_source(text: str) -> Source:
    """Return the source that ``text`` names.

    Raises:
        MalformedError: not one of the three forms.
    """
    scheme, separator, rest = text.partition("://")
    if not text.isprintable() or len(text) > 2048:
        raise MalformedError(f"source {shown(text)} is not a short printable text")
    if separator and scheme == Scheme.HF:
        return _hugging_face(text, rest)
    if separator and scheme == Scheme.S3:
        return _bucket(text, rest)
    if separator and scheme == Scheme.FILE:
        if not rest.startswith("/") or ".." in rest.split("/"):
            raise MalformedError(f"source {shown(text)} must be file:///absolute/directory")
        return Source(Scheme.FILE, rest.rstrip("/") or "/")
    raise MalformedError(
        f"source {shown(text)} is none of hf://org/name[@revision], s3://bucket/prefix, "
        "file:///directory"
    )


def _hugging_face(text: str, rest: str) -> Source:
    match = _HF.fullmatch(rest)
    if match is None or ".." in match[1] or "--" in match[1] or match[1].endswith(".git"):
        raise MalformedError(f"source {shown(text)} must be hf://org/name[@revision]")
    return Source(Scheme.HF, match[1], revision=match[2])


def _bucket(text: str, rest: str) -> Source:
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket) or ".." in prefix.split("/"):
        raise MalformedError(f"source {shown(text)} must be s3://bucket/prefix")
    return Source(Scheme.S3, bucket, prefix=prefix.strip("/"))
