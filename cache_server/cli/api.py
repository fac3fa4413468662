"""A small client of the control plane."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

from cache_protocol.errors import CacheError, MalformedError, ServerUnreachableError, from_problem
from cache_server.cli.trust import SYSTEM, Trust, explained

MAX_ANSWER = 256 * 2**20  # bytes; a list of 100 000 pipelines
MAX_LINE = 2**20  # bytes; a thousand times what one event takes
TIMEOUT = 30.0  # seconds without a byte
TENANT_HEADER = "Warmline-Tenant"


class NodeApi:
    """Calls one node. A connection per call: commands make few."""

    def __init__(
        self,
        server: str,
        token: str | None,
        tenant: str | None = None,
        *,
        timeout: float = TIMEOUT,
        trust: Trust = SYSTEM,
    ) -> None:
        """Remember where the node is; ``timeout`` is in seconds without a byte.

        Raises:
            MalformedError: ``server`` is not an http or https URL, or ``token`` cannot be sent.
        """
        try:
            url = urlsplit(server)
            host, port = url.hostname, url.port
        except ValueError as error:
            raise MalformedError(f"server {server!r}: {error}") from error
        if url.scheme not in ("http", "https") or not host:
            raise MalformedError(f"server {server!r} is not of the form https://host:port")
        self.server = server.rstrip("/")
        self._timeout = timeout
        tls = url.scheme == "https"
        self._host, self._port = host, port or (443 if tls else 80)
        self._trust = trust if tls else None
        self._prefix = url.path.rstrip("/")
        if token and not token.isprintable():
            raise MalformedError("the token has control characters: no token has them")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        if tenant is not None:
            self._headers[TENANT_HEADER] = tenant

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON answer of one call, ``{}`` if it has none.

        Raises:
            ServerUnreachableError: nobody answered.
            CacheError: the node's own error.
        """
        return _checked(*self._ask(method, path, body))

    def probe(self, path: str) -> tuple[bool, dict[str, Any]]:
        """Return whether a probe of the node is well, and what it says.

        Raises:
            ServerUnreachableError: nobody answered.
        """
        status, content = self._ask("GET", path, None)
        return status == 200, _fields(status, content)

    def lines(self, path: str) -> Iterator[str]:
        """Yield the lines of an answer that goes on, as they come.

        Raises:
            ServerUnreachableError: nobody answered, or nothing came for the time limit.
            CacheError: the node's own error.
        """
        connection = self._connection()
        with self._reaching(), closing(connection):
            connection.request("GET", self._prefix + path, headers=self._headers)
            answer = connection.getresponse()
            if answer.status >= 400:
                _checked(answer.status, answer.read(MAX_LINE))
            while line := answer.readline(MAX_LINE):
                yield line.decode(errors="replace").rstrip("\n")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        connection = self._connection()
        headers = {**self._headers, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body)
        with self._reaching(), closing(connection):
            connection.request(method, self._prefix + path, data, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(MAX_ANSWER)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            why = explained(error)
            raise ServerUnreachableError(f"no node answers at {self.server}: {why}") from error

    def _connection(self) -> http.client.HTTPConnection:
        if self._trust is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return self._trust.connection(self._host, self._port, self._timeout)


def _checked(status: int, content: bytes) -> dict[str, Any]:
    fields = _fields(status, content)
    if status >= 400:
        raise from_problem(fields)
    return fields


def _fields(status: int, content: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(content) if content else {}
    except ValueError as error:
        raise CacheError(f"the node answered {status} with something that is not JSON") from error
    if not isinstance(fields, dict):
        raise CacheError(f"the node answered {status} with {type(fields).__name__}")
    return fields
