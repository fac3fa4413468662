"""The control plane over a real socket, for a service with origins in memory."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any

import uvicorn
from fastapi import FastAPI

from cache_server.catalogue.boots import Boots
from cache_server.catalogue.tokens import Tokens
from cache_server.core.tenants import Tenant, Tenants
from cache_server.http.annex import Annex
from cache_server.http.api import Wiring, build
from cache_server.http.crowd import Crowd
from cache_server.http.encrypted import Encryption
from cache_server.http.front import Front
from cache_server.http.replicas import DataAddress
from cache_server.http.streams import RHYTHM, Rhythm
from cache_server.metrics.lanes import LaneCounts
from cache_server.origins.admission import Admission
from cache_server.origins.settings import OriginSettings
from cache_server.service.identities import Identities
from cache_server.service.service import Service
from cache_server.store.ticket_keys import TicketKeys

TOKEN = "the-token"
NO_LIST = Tenants().of  # of an operator who lists no tenants


@dataclass
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ControlPlane:
    """Where it listens, and short ways to ask it."""

    def __init__(self, port: int, app: FastAPI) -> None:
        self.port = port
        self.app = app
        self.url = f"http://127.0.0.1:{port}"

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=30)

    def send(
        self,
        connection: HTTPConnection,
        method: str,
        path: str,
        body: Any = None,
        token=TOKEN,
        headers: dict[str, str] | None = None,
    ) -> None:
        headers = (headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        data = body if body is None or isinstance(body, bytes) else json.dumps(body)
        connection.request(method, path, data, headers | {"Content-Type": "application/json"})

    def receive(self, connection: HTTPConnection) -> Answer:
        answer = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, fields, answer.read())

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = TOKEN,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        connection = self.connect()
        try:
            self.send(connection, method, path, body, token, headers)
            return self.receive(connection)
        finally:
            connection.close()


@contextmanager
def control_plane(
    service: Service,
    *,
    auth: bool = True,
    crowd: Crowd | None = None,
    tenants: Callable[[str], Tenant] = NO_LIST,
    lanes: Callable[[], LaneCounts] | None = None,
    send_buffer: int = 0,
    pages: Callable[[Service, Wiring], Front] | None = None,
    encryption: Encryption | None = None,
    doors: Callable[[Service, Wiring], list[Annex]] | None = None,
    rhythm: Rhythm = RHYTHM,
    **data: Any,
) -> Iterator[ControlPlane]:
    """Serve ``service``; nothing is left listening at the end.

    ``send_buffer`` has the kernel keep so many bytes for each peer, about; 0: as it likes.
    """
    fields = {"tickets": TicketKeys(service._root.path), "advertise": None, "port": 8081}
    identities = Identities(
        Tokens(service._registry), TOKEN, key=b"i" * 32, now=lambda: datetime.now(UTC)
    )
    boots = Boots(service._registry)
    admission = Admission(tenants, OriginSettings(), closed=[service._root.path])
    address = DataAddress(**{**fields, **data})
    wiring = Wiring(
        identities,
        address,
        boots,
        auth,
        check_models=admission.check,
        lanes=lanes,
        connections_of=lambda tenant: tenants(tenant).quotas.connections,
        rhythm=rhythm,
    )
    bounded = (crowd or Crowd()).protocol()
    front = None if pages is None else pages(service, wiring)
    app = build(service, wiring, front, () if doors is None else doors(service, wiring))
    config = uvicorn.Config(
        app,
        http=bounded if encryption is None else encryption.protocol(bounded),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the node does
    if send_buffer:  # accepted sockets inherit it
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield ControlPlane(listener.getsockname()[1], app)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
