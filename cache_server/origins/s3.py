"""A bucket prefix as an origin: ``s3://bucket/prefix``, through boto3.

Every GET is pinned: by the version id where the bucket keeps versions, by ``If-Match`` with the
ETag elsewhere. ETags are opaque and no checksum is counted on: dialects of S3 differ in both.
A prefix that is itself an object, and no folder, is a model of one file.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.response import StreamingBody
from botocore.utils import get_environ_proxies
from urllib3.exceptions import HTTPError

from cache_protocol.errors import (
    MalformedError,
    OriginDeniedError,
    OriginError,
    OriginNotFoundError,
    OriginUnavailableError,
)
from cache_protocol.names import check_path, shown
from cache_protocol.ranges import Span, range_header
from cache_server.core.content import Listing, OriginFile
from cache_server.core.tracing import trace_headers
from cache_server.origins.answers import CaseBlind, place_in_body, refusal
from cache_server.origins.directory import listing_digest
from cache_server.origins.question import asking, bounded
from cache_server.origins.s3_session import JudgedSession, install
from cache_server.origins.settings import OriginSettings
from cache_server.origins.spans import Read, SpanStream

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_PIECE = 2**20  # bytes per read of a body
MAX_CONNECTIONS = 64  # of one client; the fill bounds how many it uses
_NO_VERSION = "null"  # the id of an object that came before versioning; it can be overwritten


class _Pin(NamedTuple):
    """What a file's tag says: ``etag|version file|object VALUE``."""

    kind: str  # "etag" or "version"
    shape: str  # "file": below the prefix; "object": the prefix is the key
    value: str

    def __str__(self) -> str:
        return f"{self.kind} {self.shape} {self.value}"

    @classmethod
    def parse(cls, tag: str) -> "_Pin":
        kind, shape, value = tag.split(" ", 2)
        return cls(kind, shape, value)

    def arguments(self) -> dict[str, str]:
        return {"VersionId" if self.kind == "version" else "IfMatch": self.value}


class S3Origin:
    """The objects below one prefix."""

    def __init__(
        self, bucket: str, prefix: str, *, secret: Mapping[str, str] | None,
        settings: OriginSettings,
    ) -> None:  # fmt: skip
        """Prepare.

        Args:
            bucket: name.
            prefix: without slashes around it.
            secret: as ``credentials`` reads it; an empty one leaves it to boto3's own search,
                with None nothing is signed or searched for.
            settings: of all origins.
        """
        self._bucket, self._prefix = bucket, prefix
        self._secret = dict(secret or {})
        self._settings = settings
        self._config = Config(
            signature_version=UNSIGNED if secret is None else None,
            retries={"total_max_attempts": 1},  # the fill decides
            # Off where the service does not demand them: many dialects have none.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        self._client = self._connect()
        self._client.meta.events.register("before-call.s3", _trace)
        self._session = self._http(self._client.meta.endpoint_url)
        install(self._client, self._session)

    def resolve(self) -> Listing:
        """Implement ``ports.Origin``; the revision is a digest of keys and pins."""
        try:
            with asking():
                files = tuple(sorted(self._files(), key=lambda f: f.path))
        except (ClientError, BotoCoreError) as error:
            raise _translated(error, self._what("")) from error
        if not files:
            raise OriginNotFoundError(f"{self._what('')} holds no objects")
        return Listing(listing_digest(files), files)

    def check_access(self) -> None:
        """Implement ``ports.Origin``: nobody is asked."""

    @contextmanager
    def open(
        self,
        listing_revision: str,  # noqa: ARG002 - the file's tag pins it
        file: OriginFile,
        span: Span,
    ) -> Iterator[SpanStream]:
        """Implement ``ports.Origin``."""
        what = self._what(check_path(file.path))
        pin = _Pin.parse(file.tag)
        key = self._prefix if pin.shape == "object" else self._folder + file.path
        pinned: Any = pin.arguments()
        try:
            answer = self._client.get_object(
                Bucket=self._bucket, Key=key, Range=range_header(span), **pinned
            )
        except (ClientError, BotoCoreError) as error:
            raise _translated(error, what) from error
        body, meta = answer["Body"], answer["ResponseMetadata"]
        try:
            skip = place_in_body(
                meta["HTTPStatusCode"],
                CaseBlind(meta["HTTPHeaders"].items()),
                span,
                file.size,
                what,
            )
            yield SpanStream(_reader(body, what), span.size, skip=skip, what=what)
        finally:
            body.close()

    def close(self) -> None:
        """Implement ``ports.Origin``."""
        self._session.close()
        self._client.close()

    def _connect(self) -> "S3Client":
        secret = self._secret
        try:
            return boto3.session.Session().client(
                "s3",
                config=self._config,
                endpoint_url=secret.get("endpoint_url"),
                region_name=secret.get("region"),
                aws_access_key_id=secret.get("access_key_id"),
                aws_secret_access_key=secret.get("secret_access_key"),
                aws_session_token=secret.get("session_token"),
            )
        except (BotoCoreError, ValueError) as error:
            raise MalformedError(f"{self._what('')}: boto3's settings: {error}") from error

    def _http(self, endpoint: str) -> JudgedSession:
        proxies = get_environ_proxies(endpoint)  # as boto3 finds them
        host = urlsplit(endpoint).hostname or ""
        # The operator named the endpoint; a bucket may be a part of its host's name.
        named = {
            host,
            f"{self._bucket}.{host}",
            *(urlsplit(p).hostname or "" for p in proxies.values()),
        }
        return JudgedSession(
            self._settings.reach.with_hosts(named),
            proxies,
            verify=self._settings.ca_bundle or True,
            timeout=(self._settings.connect_timeout, self._settings.stall_timeout),
            max_pool_connections=MAX_CONNECTIONS,
        )

    @property
    def _folder(self) -> str:
        return f"{self._prefix}/" if self._prefix else ""

    def _what(self, path: str) -> str:
        return f"s3://{self._bucket}/{self._folder}{path}".rstrip("/")

    def _files(self) -> Iterator[OriginFile]:
        found = self._versions() if self._keeps_versions() else None
        if found is None:
            found = self._objects()
        if not found and self._prefix:
            found = self._single()
        yield from found

    def _keeps_versions(self) -> bool:
        try:
            answer = self._client.get_bucket_versioning(Bucket=self._bucket)
        except ClientError as error:
            if _status(error) in (403, 405, 501):  # not ours to ask, or not part of this dialect
                return False
            raise
        return answer.get("Status") == "Enabled"

    def _versions(self) -> list[OriginFile] | None:
        """Return the newest version of each object; None where they may not be listed."""
        pages = self._client.get_paginator("list_object_versions")
        try:
            rows = bounded(
                row
                for page in pages.paginate(Bucket=self._bucket, Prefix=self._folder)
                for row in page.get("Versions", [])
                if row["IsLatest"] and not row["Key"].endswith("/")
            )
            return [
                self._file(row["Key"], row["Size"], row["ETag"], row["VersionId"]) for row in rows
            ]
        except ClientError as error:
            if _status(error) in (403, 405, 501):
                return None
            raise

    def _objects(self) -> list[OriginFile]:
        pages = self._client.get_paginator("list_objects_v2")
        rows = bounded(
            row
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._folder)
            for row in page.get("Contents", [])
            if not row["Key"].endswith("/")  # a folder marker
        )
        return [self._file(row["Key"], row["Size"], row["ETag"], None) for row in rows]

    def _single(self) -> list[OriginFile]:
        try:
            head = self._client.head_object(Bucket=self._bucket, Key=self._prefix)
        except ClientError as error:
            if _status(error) == HTTPStatus.NOT_FOUND:
                return []
            raise
        pin = _pin("object", head["ETag"], head.get("VersionId"))
        name = self._prefix.rpartition("/")[2]
        return [OriginFile(name, head["ContentLength"], str(pin))]

    def _file(self, key: str, size: int, etag: str, version: str | None) -> OriginFile:
        path = key.removeprefix(self._folder)
        return OriginFile(path, size, str(_pin("file", etag, version)))


def _trace(params: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - as botocore calls it
    params["headers"].update(trace_headers())


def _pin(shape: str, etag: str, version: str | None) -> _Pin:
    if version and version != _NO_VERSION:
        return _Pin("version", shape, version)
    return _Pin("etag", shape, etag)


def _reader(body: StreamingBody, what: str) -> Read:
    def read(into: memoryview) -> int:
        try:
            return body.readinto(into[:_PIECE])  # type: ignore[arg-type]  # the stub wants a file
        except (BotoCoreError, HTTPError, OSError) as error:
            raise _translated(error, what) from error

    return read


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _translated(error: Exception, what: str) -> OriginError:
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return OriginDeniedError(f"{what}: {error}")
    if isinstance(error, ClientError):
        said = error.response.get("Error", {})
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        words = {"X-Error-Code": said.get("Code", ""), "X-Error-Message": said.get("Message", "")}
        return refusal(_status(error), CaseBlind({**headers, **words}.items()), what)
    return OriginUnavailableError(f"{what}: {shown(str(error))}")
