"""The S3 door over pipelines in memory, and boto3 that asks it without a socket.

    with boto3 ──signed request──> S3Door.answer ──Reply──> boto3

The client is the real one, with its own signatures, parsers, retries and pages; only what would go
over a connection is handed over as a value. Bytes of objects are made from their key.
"""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.credentials import Credentials as BotoCredentials

from cache_protocol.errors import UnknownPipelineError
from cache_server.catalogue.registry import Key
from cache_server.core.access import Identity, Role
from cache_server.core.attempts import FailedAttempts
from cache_server.core.content import Content, LeftOut, ModelContent, OriginFile
from cache_server.doors.s3.credentials import Credentials
from cache_server.doors.s3.door import S3Door
from cache_server.doors.s3.reply import Extent, Reply
from cache_server.doors.s3.request import S3Request
from cache_server.store.generation import Generation

ENDPOINT = "http://cache:8080/s3"
RESOLVED = datetime(2026, 5, 4, 3, 2, 1, 234567, tzinfo=UTC)
VOICE = Key("default", "voice")
SESSION = boto3.session.Session()  # of many clients: it reads a description of S3 once
ONE_TRY = {"total_max_attempts": 1, "mode": "standard"}


def generation(
    key: Key,
    files: dict[str, int],
    sha256: str | None = None,
    left_out: tuple[LeftOut, ...] = (),
) -> Generation:
    """Return a generation of ``files``, keys of S3 with their sizes; each model left that out."""
    models: dict[str, list[OriginFile]] = {}
    for name, size in files.items():
        model, _, path = name.partition("/")
        models.setdefault(model, []).append(OriginFile(path, size, "t", sha256))
    content = Content(
        key.tenant,
        key.id,
        tuple(
            ModelContent(m, "file:///m", "r", None, tuple(f), left_out) for m, f in models.items()
        ),
    )
    return Generation(Path("/nowhere") / content.generation, content, RESOLVED)


def pattern(key: str, size: int) -> bytes:
    """Return the bytes of an object."""
    return (key.encode() * (size // max(1, len(key)) + 1))[:size]


class FakeStock:
    """Pipelines in memory; ``asked`` has every question."""

    def __init__(self) -> None:
        self.pipelines: dict[Key, Generation] = {}
        self.asked: list[tuple[str, str, Key]] = []
        self.broken: Exception | None = None

    def put(self, files: dict[str, int], key: Key = VOICE, **more: object) -> Generation:
        self.pipelines[key] = generation(key, files, **more)
        return self.pipelines[key]

    def buckets(self, tenant: str) -> list[str]:
        return sorted(key.id for key in self.pipelines if key.tenant == tenant)

    def check(self, key: Key) -> None:
        self._find("check", "", key)

    def names(self, who: str, key: Key) -> Generation:
        return self._find("names", who, key)

    def open(self, who: str, key: Key) -> Generation:
        return self._find("open", who, key)

    def _find(self, question: str, who: str, key: Key) -> Generation:
        self.asked.append((question, who, key))
        if self.broken is not None:
            raise self.broken
        if key not in self.pipelines:
            raise UnknownPipelineError(f"there is no pipeline {key.id!r}")
        return self.pipelines[key]


class FakeKeys:
    """Access keys: ids of tokens, each with a secret."""

    def __init__(self) -> None:
        self.known: dict[str, Identity] = {}

    def add(
        self,
        name: str,
        tenant: str = "default",
        role: Role = Role.REPLICA,
        pipelines: frozenset[str] | None = None,
    ) -> str:
        self.known[name] = Identity(name, tenant, role, pipelines)
        return name

    def by_id(self, name: str) -> Identity | None:
        return self.known.get(name)

    def s3_secret(self, name: str) -> str:
        return f"secret of {name}"


class Door:
    """A door with a clock, one pipeline and one key, and short ways to ask it."""

    def __init__(self, *, auth: bool = True) -> None:
        self.stock, self.keys = FakeStock(), FakeKeys()
        self.attempts = FailedAttempts()
        self.ahead = timedelta()  # of the node's clock, before the clients'
        credentials = Credentials(self.keys if auth else None, self.attempts)
        self.door = S3Door(self.stock, credentials, lambda: datetime.now(UTC) + self.ahead)
        self.stock.put({"m/config.json": 10, "m/model.safetensors": 1000})
        self.keys.add("ours")

    def answer(self, request: S3Request) -> Reply:
        return self.door.answer(request)

    def ask(self, target: str, method: str = "GET", *, key: str = "ours", **headers: str) -> Reply:
        """Ask for ``target``, a path with its query, signed as boto3 would."""
        return self.answer(self.signed(target, method, key=key, **headers))

    def signed(
        self,
        target: str,
        method: str = "GET",
        *,
        key: str = "ours",
        region: str = "us-east-1",
        secret: str | None = None,
        **headers: str,
    ) -> S3Request:
        """Return a request as boto3 signs it in its header; header names with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = AWSRequest(method, f"{ENDPOINT}{target}", headers=named)
        S3SigV4Auth(self._boto(key, secret), "s3", region).add_auth(request)
        return as_request(request)

    def presigned(
        self, target: str, method: str = "GET", *, key: str = "ours", expires: int = 60
    ) -> S3Request:
        """Return a request of a URL as boto3 signs it."""
        request = AWSRequest(method, f"{ENDPOINT}{target}")
        S3SigV4QueryAuth(self._boto(key), "s3", "us-east-1", expires).add_auth(request)
        return as_request(request)

    def client(self, key: str = "ours", **config: object) -> "boto3.client":
        """Return a real client of boto3, whose requests come here."""
        settings = {"retries": ONE_TRY, "s3": {"addressing_style": "path"}, **config}
        client = SESSION.client(
            "s3",
            endpoint_url=ENDPOINT,
            aws_access_key_id=key,
            aws_secret_access_key=self.keys.s3_secret(key),
            region_name="us-east-1",
            config=Config(**settings),
        )
        client.meta.events.register("before-send.s3.*", self._send)
        return client

    def _send(self, request, **_):
        reply = self.answer(as_request(request))
        return AWSResponse(request.url, reply.status, _headers(reply), _Raw(content(reply)))

    def _boto(self, key: str, secret: str | None = None) -> BotoCredentials:
        return BotoCredentials(key, secret or self.keys.s3_secret(key))


def as_request(request, peer: str = "203.0.113.7") -> S3Request:
    """Return what a server reads of ``request``, one of botocore's."""
    parts = urlsplit(request.url)
    fields = {
        name.lower(): value.decode() if isinstance(value, bytes) else value
        for name, value in request.headers.items()
    }
    fields.setdefault("host", parts.netloc)
    return S3Request(request.method, parts.path, parts.query, fields, peer)


def content(reply: Reply) -> bytes:
    """Return the bytes that leave as the body of ``reply``."""
    body = reply.body
    if isinstance(body, Extent):
        key = f"{body.resource.model}/{body.resource.path}"
        return pattern(key, body.file.size)[body.span.begin : body.span.end]
    return body


def code(reply: Reply) -> str:
    """Return the code of an error document."""
    return content(reply).decode().partition("<Code>")[2].partition("</Code>")[0]


def _headers(reply: Reply):
    return HTTPHeaders.from_pairs(list(reply.fields.items()))


class _Raw(io.BytesIO):
    """A body as botocore reads one from a connection."""

    def stream(self, size: int = 65536, **_: object):
        while piece := self.read(size):
            yield piece

    def release_conn(self) -> None:
        """There is none."""
