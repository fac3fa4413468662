"""From a path to a bucket and a key. Pure.

    /s3                         all buckets
    /s3/<pipeline>              a bucket
    /s3/<pipeline>/<key>        an object; its key is <model>/<path>

The path is cut at its slashes first and decoded then, so that an encoded slash never moves the
border between bucket and key. A key is a name that is looked up among others, and never a path in
a file system: ``..`` in it is two dots.
"""

from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from cache_protocol.names import MAX_PATH, PIPELINE, shown
from cache_server.doors.s3.refusals import Code, S3Error
from cache_server.doors.s3.request import PREFIX

MAX_KEY = 101 + MAX_PATH  # bytes: a model's name, a slash, a path


class Target(NamedTuple):
    """What a request is about."""

    bucket: str = ""  # empty: all of them
    key: str = ""  # empty: the bucket


def parse_target(path: str) -> Target:
    """Return what the raw ``path``, which begins with PREFIX, is about.

    Raises:
        S3Error: InvalidURI, InvalidBucketName or KeyTooLongError.
    """
    rest = path.removeprefix(PREFIX).removeprefix("/")
    if not rest:
        return Target()
    bucket, _, key = rest.partition("/")
    return Target(_bucket(_decoded(bucket)), _key(_decoded(key)))


def _bucket(name: str) -> str:
    if not PIPELINE.fullmatch(name):
        raise S3Error(
            Code.INVALID_BUCKET_NAME,
            f"a bucket is a pipeline, and no pipeline can be called {shown(name)}",
            details={"BucketName": name[:200]},
        )
    return name


def _key(key: str) -> str:
    if (size := len(key.encode())) > MAX_KEY:
        raise S3Error(
            Code.KEY_TOO_LONG,
            f"a key has at most {MAX_KEY} bytes, and this one has {size}",
            details={"Size": str(size), "MaxSizeAllowed": str(MAX_KEY)},
        )
    return key


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise S3Error(
            Code.INVALID_URI, "the path is not percent-encoded UTF-8", details={"URI": text[:200]}
        ) from error
