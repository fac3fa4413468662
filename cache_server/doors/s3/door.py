"""One request, answered: the right to ask, bucket and key, and what is to be said of them.

    request ──> method ──> signature ──> bucket and key ──> operation ──> reply
                                 └─────── S3Error at any of them ───────> error document

Knows no socket and no framework: whoever calls has read the head, and sends the reply. Bytes of
objects are not read here; the reply says where they are.
"""

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from cache_protocol.errors import CacheError, UnknownPipelineError
from cache_protocol.formats import Hazard
from cache_protocol.names import shown
from cache_protocol.request_ids import accepted
from cache_protocol.routes import FILES, Resource
from cache_server.catalogue.registry import Key
from cache_server.core.access import Identity, Role
from cache_server.core.tracing import request_id
from cache_server.doors.s3.catalogue import Object
from cache_server.doors.s3.conditions import Wanted, wanted
from cache_server.doors.s3.credentials import Credentials
from cache_server.doors.s3.documents import document, error_document
from cache_server.doors.s3.listings import buckets_page, objects_page, objects_page_v1
from cache_server.doors.s3.objects import object_fields, wants_checksum
from cache_server.doors.s3.operations import Operation, check_method, operation_of
from cache_server.doors.s3.query import parse_query
from cache_server.doors.s3.refusals import Code, S3Error, refusal_of
from cache_server.doors.s3.reply import Extent, Reply
from cache_server.doors.s3.request import S3Request
from cache_server.doors.s3.stock import Catalogues, Stock
from cache_server.doors.s3.target import Target, parse_target
from cache_server.service.library import Readable

log = logging.getLogger(__name__)

XML = "application/xml"
REQUEST_ID = "x-amz-request-id"
ANYBODY = S3Request("GET", "", "", {})  # who sent what could not be read as a request


class Asked(NamedTuple):
    """A request that may be made, taken apart."""

    request: S3Request
    parameters: Mapping[str, str]
    target: Target
    who: Identity

    @property
    def key(self) -> Key:
        """The pipeline; UnknownPipelineError where it is not there for who asks."""
        if not self.who.reaches(self.target.bucket):
            raise UnknownPipelineError(f"there is no pipeline {shown(self.target.bucket)}")
        return Key(self.who.tenant, self.target.bucket)


class S3Door:
    """Answers requests of S3's clients. Safe for threads."""

    def __init__(self, stock: Stock, credentials: Credentials, now: Callable[[], datetime]) -> None:
        """Show what is in ``stock`` to who has ``credentials``; ``now`` is in UTC."""
        self._stock = stock
        self._credentials = credentials
        self._now = now
        self._catalogues = Catalogues()

    def answer(self, request: S3Request) -> Reply:
        """Return what is to be sent for ``request``; never raises.

        May wait for the origin of a cold pipeline, as long as the stock has patience.
        """
        request_id.set(_name_of(request))
        try:
            asked = self._admit(request)
            reply = self._reply(asked)
        except S3Error as error:
            return self.refuse(error, request)
        except CacheError as error:
            return self.refuse(refusal_of(error), request)
        except Exception:
            # The last line of defence: whatever a request is made of, its client gets an answer.
            log.exception("a request failed on a bug: %s %s", request.method, shown(request.path))
            broken = S3Error(Code.INTERNAL_ERROR, "the node failed; its log says why")
            return self.refuse(broken, request)
        tenant = None if asked.who.role is Role.ADMIN else asked.who.tenant
        fields = {**reply.fields, REQUEST_ID: request_id.get() or ""}
        return _sendable(replace(reply, fields=fields, tenant=tenant, known=True), request)

    def refuse(self, error: S3Error, request: S3Request = ANYBODY) -> Reply:
        """Return ``error`` as an answer, also to what could not be read as a request."""
        name = request_id.get() or _name_of(request)
        details = [*error.details.items(), ("Resource", request.path[:1000]), ("RequestId", name)]
        body = error_document(error.code.word, error.message, details)
        reply = _xml(body, status=error.code.status)
        fields = {**reply.fields, **error.fields, REQUEST_ID: name}
        return _sendable(replace(reply, fields=fields), request)

    def _admit(self, request: S3Request) -> Asked:
        check_method(request.method, _kind(request.path))
        parameters = parse_query(request.query)
        who = self._credentials.of(request, parameters, self._now())
        return Asked(request, parameters, parse_target(request.path), who)

    def _reply(self, asked: Asked) -> Reply:
        operation = operation_of(asked.request.method, asked.target, asked.parameters)
        if operation is Operation.OBJECT:
            return self._object(asked)
        if operation is Operation.LIST_BUCKETS:
            return self._buckets(asked)
        if operation in (Operation.LIST, Operation.LIST_V1):
            return self._list(asked, operation)
        self._stock.check(asked.key)
        if operation is Operation.HEAD_BUCKET:
            return Reply(200, {"Content-Length": "0", "Content-Type": XML})
        name = {
            Operation.LOCATION: "LocationConstraint",  # an empty one: any region is right
            Operation.VERSIONING: "VersioningConfiguration",
        }[operation]
        return _xml(document(name, []))

    def _buckets(self, asked: Asked) -> Reply:
        tenant = asked.who.tenant
        buckets = [name for name in self._stock.buckets(tenant) if asked.who.reaches(name)]
        return _xml(buckets_page(tenant, asked.parameters, buckets))

    def _list(self, asked: Asked, operation: Operation) -> Reply:
        page = objects_page if operation is Operation.LIST else objects_page_v1
        catalogue = self._catalogues.of(self._stock.names(asked.who.id, asked.key))
        return _xml(page(asked.target.bucket, asked.parameters, catalogue))

    def _object(self, asked: Asked) -> Reply:
        # Names first: a key that is not there has nothing pulled.
        generation = self._stock.names(asked.who.id, asked.key)
        found = self._find(generation, asked.target.key)
        if asked.request.method == "GET" or _pre_stages(asked.request):
            opened = self._stock.open(asked.who.id, asked.key)
            if opened is not generation:
                generation, found = opened, self._find(opened, asked.target.key)
        what = wanted(asked.request.fields, asked.parameters.get("partNumber"), found.shape)
        checked = wants_checksum(asked.request.fields, asked.parameters)
        sha256 = _sha256(generation, found) if checked else None
        fields = object_fields(found.shape, what, sha256)
        return Reply(what.status, fields, _body(generation, found, what))

    def _find(self, generation: Readable, key: str) -> Object:
        catalogue = self._catalogues.of(generation)
        found = catalogue.objects.get(key)
        if found is None:
            raise _no_such_key(key, catalogue.left_out.get(key))
        return found


def _no_such_key(key: str, hazard: Hazard | None) -> S3Error:
    why = "The specified key does not exist"
    if hazard is not None:
        why += (
            ": the file stays at its origin, because it can run code; register the pipeline with "
            f"allow_{hazard} to have it"
        )
    return S3Error(Code.NO_SUCH_KEY, why, details={"Key": key})


def _pre_stages(request: S3Request) -> bool:
    """Whether a HEAD means that bytes will be read soon: a convention of other caches."""
    return request.fields.get("range", "").replace(" ", "") == "bytes=0-0"


def _body(generation: Readable, found: Object, what: Wanted) -> bytes | Extent:
    if not what.span.size:
        return b""
    resource = Resource(FILES, generation.id, found.model, found.file.path)
    return Extent(resource, generation.file(found.model, found.file.path), what.span)


def _sha256(generation: Readable, found: Object) -> bytes | None:
    """Return what was confirmed on this node, else what the origin announced, if it did."""
    confirmed = generation.file(found.model, found.file.path).sha256
    announced = found.file.sha256
    return confirmed or (None if announced is None else bytes.fromhex(announced))


def _sendable(reply: Reply, request: S3Request) -> Reply:
    return replace(reply, body=b"") if request.method == "HEAD" else reply


def _xml(body: bytes, *, status: int = 200) -> Reply:
    return Reply(status, {"Content-Type": XML, "Content-Length": str(len(body))}, body)


def _kind(path: str) -> str:
    """Return what S3 calls the kind of thing that ``path`` names."""
    return ("SERVICE", "BUCKET", "OBJECT")[min(path.strip("/").count("/"), 2)]


def _name_of(request: S3Request) -> str:
    """Return the id of ``request`` in the log and in its answer: its sender's own, or a new one."""
    return accepted(request.fields.get("x-request-id")) or secrets.token_hex(8).upper()
