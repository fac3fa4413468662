"""Ask the control plane: for a manifest, and to hold it while it is read.

One connection per call: there is one call per start, then one per lease renewal. ``close`` may
come from any thread and ends a call that waits. The token travels in its header and nowhere
else; no message of an error shows it.
"""

import http.client
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from cache_protocol import request_ids, routes
from cache_protocol.errors import (
    CacheError,
    MalformedError,
    ServerUnreachableError,
    UnauthorizedError,
    from_problem,
)
from cache_protocol.json_bounds import check_marks
from cache_protocol.manifest import MAX_MANIFEST, Manifest, parse_manifest
from cache_protocol.names import check_model, check_pipeline, shown
from replica_agent.connection import dial, hang_up
from replica_agent.core.answers import MAX_PROBLEM
from replica_agent.core.bearer import is_token, without_blanks
from replica_agent.core.urls import parse_url
from replica_agent.local.offer import AUTO
from replica_agent.settings import Settings
from replica_agent.trust import Trust, explained

if TYPE_CHECKING:
    from cache_protocol.plans import Key

LISTING_TIMEOUT = 300.0  # seconds in all: a cold slot answers when its origin has listed
CALL_TIMEOUT = 10.0  # seconds, for calls that need no origin
GOODBYE_TIMEOUT = 1.0  # seconds; a lease that is not given back ends by itself
POST_TIMEOUT = 3.0  # seconds; a report is for people, and nobody waits for it
MAX_LIST = 2**20  # bytes; 64 keys have 100 kB
_JSON = {"Content-Type": "application/json"}
_GONE = (404, 410)  # what a node says of a lease that has ended


class Listed(NamedTuple):
    """A plan that the node keeps."""

    key: "Key"
    size: int  # bytes of its document


class ControlClient:
    """The control plane of one node. Safe for threads."""

    def __init__(
        self,
        server: str,
        token: str | None = None,
        trust: Trust | None = None,
        local: str = AUTO,
    ) -> None:
        """Ask ``server``, e.g. ``https://cache:8080``, with the right that ``token`` gives.

        ``trust`` says whose certificates are believed: by default those that the system believes.
        ``local`` says whether its files are read on this host, see ``local.offer``.

        Raises:
            MalformedError: no URL, or no token; the token itself is never shown.
        """
        self.trust = trust or Trust()
        self.local = local
        self._target = parse_url(server)
        self._server = str(self._target.endpoint)
        # Of this start: the node and the origin write it into their logs.
        self.request_id = os.urandom(8).hex()
        self._headers = {"Accept": "application/json", request_ids.HEADER: self.request_id}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {_checked(token)}"
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._closed = False

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return a client for the node, and the ways to reach it, that ``settings`` name."""
        trust = Trust(settings.ca)
        return cls(settings.server, settings.token, trust, settings.local_socket)

    def manifest(self, pipeline: str, timeout: float = LISTING_TIMEOUT) -> Manifest:
        """Return the manifest of ``pipeline``; on a cold slot this starts its fill.

        Args:
            pipeline: id.
            timeout: seconds in all.

        Raises:
            ServerUnreachableError: nobody answers.
            MalformedError: the answer is no manifest, or that of another pipeline.
            CacheError: what the node said instead.
        """
        path = routes.pipeline(check_pipeline(pipeline), "manifest")
        answer = self._call("GET", path, timeout, MAX_MANIFEST)
        manifest = parse_manifest(answer.unless_refused())
        self._check(manifest)
        if manifest.pipeline != pipeline:
            raise MalformedError(f"asked for {pipeline}, got the manifest of {manifest.pipeline}")
        return manifest

    def pipeline(self, pipeline: str) -> dict[str, Any]:
        """Return what the node says of ``pipeline``; starts nothing there.

        Raises:
            CacheError: as ``manifest``.
        """
        path = routes.pipeline(check_pipeline(pipeline))
        body = self._call("GET", path, CALL_TIMEOUT, MAX_MANIFEST).unless_refused()
        fields = _problem(body)
        if not isinstance(fields.get("cache"), dict):
            raise MalformedError(f"{self._server} did not describe a pipeline")
        return fields

    def renew(self, lease: str) -> bool:
        """Hold ``lease`` for its full time again; False when the node does not know it."""
        answer = self._call("PUT", routes.lease(lease), CALL_TIMEOUT, MAX_PROBLEM)
        if answer.status in _GONE:
            return False
        answer.unless_refused()
        return True

    def renew_tickets(self, lease: str) -> Manifest | None:
        """Hold ``lease`` again and return the manifest of what it holds, with fresh tickets.

        None when the node does not know the lease. Raises as ``manifest`` does.
        """
        answer = self._call("GET", routes.lease_manifest(lease), CALL_TIMEOUT, MAX_MANIFEST)
        if answer.status in _GONE:
            return None
        manifest = parse_manifest(answer.unless_refused())
        self._check(manifest)
        return manifest

    def _check(self, manifest: Manifest) -> None:
        """Refuse to go on in plain text where the manifest came encrypted."""
        urls = (u for _, f in manifest.files() for u in (*f.urls, f.digests, f.verdict))
        if self._target.endpoint.tls and not all(u.startswith("https://") for u in urls):
            raise MalformedError(f"{self._server} speaks TLS and sends its readers to plain text")

    def give_back(self, lease: str) -> None:
        """End ``lease``, also after ``close``; one that is unknown has ended already."""
        path = routes.lease(lease)
        answer = self._call("DELETE", path, GOODBYE_TIMEOUT, MAX_PROBLEM, closing=True)
        if answer.status not in _GONE:
            answer.unless_refused()

    def post_boot(self, report: dict[str, Any]) -> None:
        """Tell the node how a boot went.

        Raises:
            CacheError: it did not take it.
        """
        body = json.dumps(report).encode()
        answer = self._call("POST", routes.BOOTS, POST_TIMEOUT, MAX_PROBLEM, body=body)
        answer.unless_refused()

    def listed_plans(
        self, pipeline: str, model: str, timeout: float = CALL_TIMEOUT
    ) -> "list[Listed]":
        """Return which plans the node keeps of the weights of ``model``. Starts nothing there.

        Raises:
            MalformedError: the answer is none.
            CacheError: what the node said instead, or nobody answers.
        """
        from cache_protocol.plans import parse_key  # noqa: PLC0415 - no start waits for it

        path = routes.plans(check_pipeline(pipeline), check_model(model))
        fields = _problem(self._call("GET", path, timeout, MAX_LIST).unless_refused())
        try:
            return [Listed(parse_key(p["key"]), _size(p["bytes"])) for p in fields["plans"]]
        except (LookupError, TypeError) as error:
            raise MalformedError(f"{self._server} did not list plans") from error

    def plan_document(
        self, pipeline: str, model: str, digest: str, size: int, timeout: float = CALL_TIMEOUT
    ) -> bytes:
        """Return the plan whose key has ``digest``, as it came: nobody has looked into it.

        ``size`` is how many bytes it was listed with; more are not returned.

        Raises:
            UnknownPlanError: the node does not have it, or not any more.
            MalformedError: it is larger.
            CacheError: as ``listed_plans``.
        """
        path = routes.plan(check_pipeline(pipeline), check_model(model), digest)
        document = self._call("GET", path, timeout, max(size, MAX_PROBLEM)).unless_refused()
        if len(document) > size:
            raise MalformedError(
                f"plan {digest} has {len(document)} bytes, not {size} as the node lists"
            )
        return document

    def put_document(
        self, pipeline: str, model: str, digest: str, document: bytes, timeout: float = CALL_TIMEOUT
    ) -> None:
        """Leave a plan with the node, in the place of another; ``digest`` is that of its key.

        Raises:
            PlanRefusedError: it keeps none of these weights, or none so large.
            BusyError: it has others to take; come back.
            CacheError: as ``listed_plans``.
        """
        path = routes.plan(check_pipeline(pipeline), check_model(model), digest)
        self._call("PUT", path, timeout, MAX_PROBLEM, body=document).unless_refused()

    def close(self) -> None:
        """End every call that waits; later calls raise ServerUnreachableError."""
        with self._lock:
            self._closed = True
            sockets = list(self._sockets)
        for sock in sockets:
            hang_up(sock)

    def _call(  # noqa: PLR0913 - one call in one place
        self,
        method: str,
        path: str,
        timeout: float,
        limit: int,
        *,
        closing: bool = False,
        body: bytes | None = None,
    ) -> "_Answer":
        try:
            with self._connected(timeout, closing=closing) as call:
                headers = self._headers | ({} if body is None else _JSON)
                call.request(method, self._target.path.rstrip("/") + path, body, headers)
                answer = call.getresponse()
                content = answer.read(limit + 1)
                if answer.length and len(content) <= limit:
                    raise http.client.IncompleteRead(content, answer.length)
        except (OSError, http.client.HTTPException) as error:
            why = explained(error)
            raise ServerUnreachableError(f"{self._server} does not answer: {why}") from error
        if len(content) > limit:
            raise MalformedError(f"{self._server} sent more than {limit} bytes")
        return _Answer(answer.status, content)

    @contextmanager
    def _connected(self, timeout: float, *, closing: bool) -> Iterator[http.client.HTTPConnection]:
        """Connect; hang up after ``timeout`` seconds in all, however slowly bytes drip in."""
        endpoint = self._target.endpoint
        wrap = self._secured() if endpoint.tls else None
        watched: list[socket.socket] = []
        given_up = threading.Event()

        def watch(sock: socket.socket) -> None:
            watched.append(sock)
            if given_up.is_set():  # the name's look-up, or other addresses, took all the time
                raise TimeoutError(f"no connection within {timeout:g} s")
            self._enter(sock, closing=closing)

        def give_up() -> None:
            given_up.set()
            for sock in watched:
                hang_up(sock)

        watchdog = threading.Timer(timeout, give_up)
        watchdog.daemon = True
        call = http.client.HTTPConnection(endpoint.host, endpoint.port)
        try:
            watchdog.start()
            call.sock = dial(endpoint, min(timeout, CALL_TIMEOUT), watch, wrap)
            call.sock.settimeout(timeout)
            yield call
        finally:
            watchdog.cancel()
            if watchdog.ident is not None:
                watchdog.join()
            call.close()
            with self._lock:
                self._sockets.difference_update(watched)

    def _secured(self) -> Callable[[socket.socket], socket.socket]:
        """Return what makes an encrypted socket of one that is not connected yet."""
        return partial(self.trust.context.wrap_socket, server_hostname=self._target.endpoint.host)

    def _enter(self, sock: socket.socket, *, closing: bool) -> None:
        with self._lock:
            if self._closed and not closing:
                raise OSError("the client was closed")
            self._sockets.add(sock)


class _Answer(NamedTuple):
    status: int
    body: bytes

    def unless_refused(self) -> bytes:
        """Return the body of a success; raise what the node said otherwise."""
        if self.status in range(200, 300):
            return self.body
        problem = _problem(self.body)
        if "code" in problem:
            raise from_problem(problem)
        kind = UnauthorizedError if self.status in (401, 403) else CacheError
        reason = shown(self.body[:200].decode("utf-8", "replace"))
        raise kind(f"the node answered {self.status}: {reason}")


def _checked(token: str) -> str:
    token = without_blanks(token)
    if not is_token(token):
        raise MalformedError("the token is empty or has characters that no token has")
    return token


def _size(value: object) -> int:
    if type(value) is not int or value < 0:
        raise MalformedError(f"the node lists a plan of {shown(str(value))} bytes")
    return value


def _problem(body: bytes) -> dict[str, Any]:
    try:
        check_marks(body)
        problem = json.loads(body.decode())
    except (MalformedError, ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}
