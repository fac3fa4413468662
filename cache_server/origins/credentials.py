"""Read a secret that the operator mounted: a directory of small files, as Kubernetes does it.

    <secrets_dir>/<name>/token                                          Hugging Face
    <secrets_dir>/<name>/access_key_id, secret_access_key               S3
                         [session_token] [endpoint_url] [region]

Read at every use, so that a rotated secret needs no restart. No value ever goes into a message.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from cache_protocol.errors import MalformedError
from cache_protocol.names import shown

MAX_VALUE = 64 * 2**10  # bytes; session tokens of STS have some kilobytes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")  # Kubernetes: a DNS subdomain, 253
_VALUE = re.compile(rb"[\x21-\x7e]+")  # it goes into a header: no blank, no line break


def read_secret(
    secrets_dir: Path | None, name: str, *, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, str]:
    """Return the fields of secret ``name``; an optional one that is absent is left out.

    Raises:
        MalformedError: no such secret, or a field that is missing or not one printable word.
    """
    if secrets_dir is None or not _NAME.fullmatch(name) or not (secrets_dir / name).is_dir():
        raise MalformedError(f"there is no secret {shown(name)} on this node")
    fields = {f: _read(secrets_dir / name / f) for f in (*required, *optional)}
    for field in required:
        if fields[field] is None:
            raise MalformedError(f"secret {shown(name)} has no file {field}")
    for field, value in fields.items():
        if value is not None and not _VALUE.fullmatch(value):
            raise MalformedError(f"file {field} of secret {shown(name)} is not one printable word")
    return {f: v.decode() for f, v in fields.items() if v is not None}


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_VALUE).strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MalformedError(f"file {path.name} of a secret: {error.strerror}") from None
