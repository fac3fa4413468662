"""The child of ``origin``: one model off its origin, with the library that knows it.

    stdin   {"source", "revision", "files", "allow", "room"}
    stdout  {"directory": …}, or a problem document

Everything that is not the standard library is imported only for the origin that needs it. What
can run code is not even downloaded, unless it was asked for by its name or is allowed.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from cache_protocol.discretion import redacted
from cache_protocol.errors import (
    CacheError,
    MalformedError,
    OriginDeniedError,
    OriginError,
    OriginNotFoundError,
    OriginUnavailableError,
    to_problem,
)
from cache_protocol.formats import Hazard, sift
from cache_protocol.names import check_paths
from replica_agent.origin import SWITCH

Choose = Callable[[Mapping[str, int]], list[str]]  # from all, with sizes, to what is wanted


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
    choose = partial(_choose, wanted)
    if scheme == "file":
        return _directory(Path(name))
    if scheme == "hf":
        return _hugging_face(name, wanted["revision"], choose)
    if scheme == "s3":
        return _bucket(name, choose, Path(wanted["room"]))
    raise MalformedError(f"source {wanted['source']!r} is none of hf://, s3://, file://")


def _directory(directory: Path) -> Path:
    if not directory.is_absolute() or not directory.is_dir():
        raise OriginNotFoundError(f"there is no directory {directory} on this host")
    return directory


def _choose(wanted: dict[str, Any], there: Mapping[str, int]) -> list[str]:
    """Return what of a source belongs to the model: what was asked for, or all that is safe.

    Raises:
        MalformedError: a name of it would leave the model's directory.
        UnsafeContentError: it has no weights but what can run code.
    """
    if wanted["files"] is not None:
        return sorted(set(there).intersection(wanted["files"]))
    allow = [Hazard(each) for each in wanted["allow"]]
    chosen = sift(wanted["source"], there, allow, SWITCH)
    check_paths(chosen)
    return chosen


def _hugging_face(name: str, revision: str | None, choose: Choose) -> Path:
    """Download through the library's own cache, as an engine without us would."""
    try:
        from huggingface_hub import HfApi, get_token, snapshot_download  # noqa: PLC0415 - see above
    except ImportError as error:
        raise _missing("huggingface_hub") from error
    repository, _, written = name.partition("@")
    revision, secrets = revision or written or None, [get_token()]
    try:
        there = HfApi().model_info(repository, revision=revision, files_metadata=True)
    except Exception as error:  # noqa: BLE001 - of any library under the library
        return _cached(repository, revision, _failure(f"hf://{repository}", error, secrets))
    try:
        chosen = choose({each.rfilename: each.size or 0 for each in there.siblings or ()})
        # By the name that was asked for: the library then knows it when the hub is down.
        found = Path(
            snapshot_download(repository, revision=revision, allow_patterns=_literally(chosen))
        )
    except CacheError:
        raise
    except Exception as error:
        raise _failure(f"hf://{repository}", error, secrets) from error
    if found.name != there.sha:  # the branch moved between the two
        return _hugging_face(name, revision, choose)
    return found


def _cached(repository: str, revision: str | None, why: OriginError) -> Path:
    """Return what the library has of a repository that does not answer; else say why."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - see above

    try:
        return Path(snapshot_download(repository, revision=revision, local_files_only=True))
    except Exception:  # noqa: BLE001 - the reason of both is the one before
        raise why from None


def _bucket(name: str, choose: Choose, room: Path) -> Path:
    try:
        import boto3  # noqa: PLC0415 - see above
    except ImportError as error:
        raise _missing("boto3") from error
    bucket, _, prefix = name.partition("/")
    prefix, secrets = prefix.strip("/"), []
    try:
        room.mkdir(parents=True, exist_ok=True)
        session = boto3.session.Session()  # endpoint, region and keys as boto3 finds them
        if (keys := session.get_credentials()) is not None:
            secrets = [keys.access_key, keys.secret_key, keys.token]
        client = session.client("s3")
        objects = dict(_objects(client, bucket, f"{prefix}/" if prefix else ""))
        chosen = choose({path: size for path, (size, _) in objects.items()})
        _check_room(sum(objects[path][0] for path in chosen), room)
        for path in chosen:
            key = objects[path][1]
            (room / path).parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, key, str(room / path))
    except CacheError:
        raise
    except Exception as error:
        raise _failure(f"s3://{name}", error, secrets) from error
    return room


def _objects(
    client: Any,  # noqa: ANN401 - made by boto3 at run time
    bucket: str,
    prefix: str,
) -> Iterator[tuple[str, tuple[int, str]]]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            path = entry["Key"].removeprefix(prefix)
            if path and not path.endswith("/"):
                yield path, (entry["Size"], entry["Key"])


def _check_room(need: int, room: Path) -> None:
    free = shutil.disk_usage(room).free
    if need > free:
        raise OriginError(f"{need} bytes do not fit into {room}: {free} bytes are free")


def _literally(files: list[str]) -> list[str]:
    """Return patterns that match exactly these names. Source: fnmatch."""
    return ["".join(f"[{c}]" if c in "*?[" else c for c in name) for name in files]


def _failure(source: str, error: Exception, secrets: Sequence[str | None]) -> OriginError:
    """Return what a library's exception means, without ``secrets`` that the origin repeats.

    Sources: huggingface_hub.errors, whose exceptions hold the answer; botocore's ClientError,
    whose response has the status under ResponseMetadata.
    """
    answer: Any = getattr(error, "response", None)
    if isinstance(answer, dict):
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = getattr(answer, "status_code", None)
    kind = {401: OriginDeniedError, 403: OriginDeniedError, 404: OriginNotFoundError}.get(status)
    said = redacted(f"{source}: {error}", filter(None, secrets))
    return (kind or OriginUnavailableError)(said)


def _missing(library: str) -> OriginError:
    return OriginError(f"{library} is not installed here; pip install 'warmline[agent]'")


if __name__ == "__main__":
    sys.exit(main())
