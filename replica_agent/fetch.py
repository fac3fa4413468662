"""The child of ``origin``: one model off its origin, with the library that knows it.

    stdin   {"source", "revision", "files", "room"}
    stdout  {"directory": …}, or a problem document

Everything that is not the standard library is imported only for the origin that needs it.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from cache_protocol.errors import (
    CacheError,
    MalformedError,
    OriginDeniedError,
    OriginError,
    OriginNotFoundError,
    OriginUnavailableError,
    to_problem,
)


def main() -> int:
    """Answer one request; return the exit code."""
    wanted = json.load(sys.stdin)
    try:
        with redirect_stdout(sys.stderr):  # libraries show progress; the answer is ours
            directory = _fetch(wanted)
    except CacheError as error:
        print(json.dumps(to_problem(error, 0)))  # noqa: T201 - stdout is how it answers
        return 1
    print(json.dumps({"directory": str(directory)}))  # noqa: T201
    return 0


def _fetch(wanted: dict[str, Any]) -> Path:
    scheme, _, name = wanted["source"].partition("://")
    if scheme == "file":
        return _directory(Path(name))
    if scheme == "hf":
        return _hugging_face(name, wanted["revision"], wanted["files"])
    if scheme == "s3":
        return _bucket(name, wanted["files"], Path(wanted["room"]))
    raise MalformedError(f"source {wanted['source']!r} is none of hf://, s3://, file://")


def _directory(directory: Path) -> Path:
    if not directory.is_absolute() or not directory.is_dir():
        raise OriginNotFoundError(f"there is no directory {directory} on this host")
    return directory


def _hugging_face(name: str, revision: str | None, files: list[str] | None) -> Path:
    """Download through the library's own cache, as an engine without us would."""
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - see above
    except ImportError as error:
        raise _missing("huggingface_hub") from error
    repository, _, written = name.partition("@")
    try:
        found = snapshot_download(repository, revision=revision or written or None,
                                  allow_patterns=_literally(files))  # fmt: skip
    except Exception as error:
        raise _failure(f"hf://{repository}", error) from error
    return Path(found)


def _bucket(name: str, files: list[str] | None, room: Path) -> Path:
    try:
        import boto3  # noqa: PLC0415 - see above
    except ImportError as error:
        raise _missing("boto3") from error
    bucket, _, prefix = name.partition("/")
    prefix = prefix.strip("/")
    try:
        room.mkdir(parents=True, exist_ok=True)
        client = boto3.client("s3")  # endpoint, region and keys as boto3 finds them
        objects = dict(_objects(client, bucket, f"{prefix}/" if prefix else "", files))
        _check_room(sum(size for size, _ in objects.values()), room)
        for path, (_, key) in objects.items():
            (room / path).parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, key, str(room / path))
    except CacheError:
        raise
    except Exception as error:
        raise _failure(f"s3://{name}", error) from error
    return room


def _objects(
    client: Any,  # noqa: ANN401 - made by boto3 at run time
    bucket: str,
    prefix: str,
    files: list[str] | None,
) -> Iterator[tuple[str, tuple[int, str]]]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            path = entry["Key"].removeprefix(prefix)
            if path and not path.endswith("/") and (files is None or path in files):
                yield path, (entry["Size"], entry["Key"])


def _check_room(need: int, room: Path) -> None:
    free = shutil.disk_usage(room).free
    if need > free:
        raise OriginError(f"{need} bytes do not fit into {room}: {free} bytes are free")


def _literally(files: list[str] | None) -> list[str] | None:
    """Return patterns that match exactly these names. Source: fnmatch."""
    if files is None:
        return None
    return ["".join(f"[{c}]" if c in "*?[" else c for c in name) for name in files]


def _failure(source: str, error: Exception) -> OriginError:
    """Return what a library's exception means.

    Sources: huggingface_hub.errors, whose exceptions hold the answer; botocore's ClientError,
    whose response has the status under ResponseMetadata.
    """
    answer: Any = getattr(error, "response", None)
    if isinstance(answer, dict):
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = getattr(answer, "status_code", None)
    kind = {401: OriginDeniedError, 403: OriginDeniedError, 404: OriginNotFoundError}.get(status)
    return (kind or OriginUnavailableError)(f"{source}: {error}")


def _missing(library: str) -> OriginError:
    return OriginError(f"{library} is not installed here; pip install 'warmline[agent]'")


if __name__ == "__main__":
    sys.exit(main())
