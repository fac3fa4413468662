"""One running node: its parts put together, started in order, and stopped in the reverse."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn

from cache_protocol.errors import DiskError
from cache_server.catalogue.boots import Boots
from cache_server.catalogue.registry import Key, Registry
from cache_server.catalogue.tokens import Tokens
from cache_server.certificates import Certificates
from cache_server.core.access import DEFAULT_TENANT
from cache_server.core.standing import Rules
from cache_server.core.tenants import Terms
from cache_server.dashboard.front import dashboard
from cache_server.data.plane import DataPlane
from cache_server.doors.holds import Holds
from cache_server.doors.hub.routes import hub_annex
from cache_server.doors.on_demand import OnDemand
from cache_server.doors.s3.dialect import s3_dialect
from cache_server.doors.s3.request import PREFIX as S3_PREFIX
from cache_server.doors.shelf import Shelf
from cache_server.http.api import Wiring, build, by_token
from cache_server.http.auth import SharedAttempts
from cache_server.http.crowd import Crowd
from cache_server.http.encrypted import Encryption
from cache_server.http.leaving import Exit
from cache_server.http.replicas import DataAddress
from cache_server.local.plane import open_plane
from cache_server.local.register import Register
from cache_server.local.rights import Rights
from cache_server.origins.admission import Admission
from cache_server.origins.settings import OriginSettings
from cache_server.pipelines_file import read_pipelines
from cache_server.service.clocks import system_clocks
from cache_server.service.identities import Identities
from cache_server.service.service import Options, Service
from cache_server.settings import Settings
from cache_server.stopping import Server, Stopping
from cache_server.store.durable import write_json
from cache_server.store.root import Root
from cache_server.store.ticket_keys import TicketKeys
from cache_server.tenants_file import TenantsFile
from cache_server.upkeep import Upkeep

log = logging.getLogger(__name__)

CAPACITY_SHARE = 0.9  # of the file system, where the operator sets no capacity
GRACE = 5  # seconds that running requests get when the node is told to stop
LAST_WORDS = 1  # seconds that readers get beyond their time, to be told that it is over


class Node:
    """Control plane, data plane and service over one ROOT."""

    def __init__(self, settings: Settings, env: Mapping[str, str]) -> None:
        """Take ROOT, open the database, bind both ports. Nothing is served yet.

        Raises:
            CacheError: ROOT or the database cannot be used, or pipelines.yaml is wrong.
            OSError: a port cannot be bound.
        """
        self._settings = settings
        self._root = Root(settings.root)
        registry = Registry(settings.database_url or f"sqlite:///{self._root.path}/catalogue.db")
        origin_settings = OriginSettings.from_env(
            env, secrets_dir=settings.secrets_dir, private=settings.private_origins
        )
        tenants = TenantsFile(settings.tenants)

        def connections_of(tenant: str) -> int | None:
            return tenants.of(tenant).quotas.connections

        self._admission = Admission(
            tenants.of,
            origin_settings,
            closed=[self._root.path, *filter(None, [settings.secrets_dir])],
        )
        capacity = settings.capacity
        if capacity is None:
            capacity = _share_of_disk(self._root.path)
        self.service = Service(
            self._root,
            registry,
            self._admission.open,
            Options(
                capacity,
                settings.hot_window,
                settings.region,
                settings.scrub_rate,
                quotas=lambda tenant: tenants.of(tenant).quotas,
                access=Rules(settings.access_check, settings.access_grace),
            ),
            system_clocks(),
        )
        tickets = TicketKeys(self._root.path)
        self._certificates = _certificates(settings)
        holds = Holds(self.service, lambda: self._data.generations)
        self._upkeep = Upkeep(
            [tickets.keep_fresh, self._renew_certificate, tenants.look, holds.upkeep, self._look]
        )
        identities = Identities(
            Tokens(registry),
            settings.admin_token or self._root.admin_token(),
            key=self._root.identity_key(),
            now=lambda: datetime.now(UTC),
        )
        shelf, attempts = Shelf(self.service, holds), SharedAttempts()
        with _naming("data plane", settings.host, settings.data_port):
            self._data = DataPlane(
                self.service.library,
                tickets,
                host=settings.host,
                port=settings.data_port,
                encryption=self._certificates,
                connections_of=connections_of,
                dialect=s3_dialect(shelf, identities if settings.auth else None, attempts),
            )
        with _naming("control plane", settings.host, settings.port):
            self._control = _listen(settings.host, settings.port)
        self._local = open_plane(
            settings.local_socket,
            self._root.path,
            Rights(self.service.library, tickets, self._held, time.time),
            Register(connections_of),
        )
        data = DataAddress(
            tickets,
            settings.advertise,
            self._data.address[1],
            self._scheme,
            None if self._local is None else self._local.offer,
        )
        wiring = Wiring(
            identities,
            data,
            _boots(registry, settings),
            settings.auth,
            attempts,
            check_models=self._admission.check,
            connections_of=connections_of,
            lanes=lambda: self._data.stats,
        )
        self._on_demand = OnDemand(
            self.service,
            lambda tenant: tenants.of(tenant).on_demand,
            self._admission.check,
            self._admission.open,
        )
        doors = [hub_annex(shelf, data, by_token(wiring), self._on_demand)]
        config = uvicorn.Config(
            build(self.service, wiring, dashboard(self.service, wiring), doors),
            http=_protocol(self._certificates, Exit(S3_PREFIX.encode(), self._data.adopt)),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE,
            server_header=False,
        )
        self._server = Server(config, self._stopping())

    @property
    def addresses(self) -> dict[str, str]:
        """Where both planes listen."""
        host, port = self._control.getsockname()[:2]
        scheme = self._scheme
        return {"control": _url(host, port, scheme), "data": _url(*self._data.address, scheme)}

    @property
    def _scheme(self) -> str:
        return "http" if self._certificates is None else "https"

    def _renew_certificate(self) -> None:
        if self._certificates is not None and self._certificates.keep_fresh():
            log.info("another certificate is in use: sha256 %s", self._certificates.fingerprint)
            self._say_where()

    def _held(self, lease: str) -> str | None:
        generation = self.service.held(lease)
        return None if generation is None else generation.id

    def _look(self) -> None:
        if self._local is not None:
            self._local.look()

    def _say_where(self) -> None:
        """Tell programs on this machine where the node listens, and which certificate it shows."""
        fields = {"pid": os.getpid(), **self.addresses}
        if self._certificates is not None:
            fields["certificate"] = self._certificates.fingerprint
        write_json(self._root.path / "node.json", fields)

    def _say_nowhere(self) -> None:
        try:
            (self._root.path / "node.json").unlink(missing_ok=True)
        except OSError as error:  # the threads of the node have to end all the same
            log.warning("node.json stays, though no node listens any more: %s", error)

    def _stopping(self) -> Stopping:
        service, data = self.service, self._data
        return Stopping(
            drain=service.drain,
            # A lease is given back before its last answer has left, and outlives a dead replica.
            readers=lambda: max(service.leases.count, data.stats.active),
            end=service.end_fills,
            limit=self._settings.drain,
        )

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; then finish what runs, within limits."""
        self._register_pipelines()
        self.service.start()
        try:
            self._open()
            self._server.run(sockets=[self._control])
        finally:
            self._close()

    def _open(self) -> None:
        self._data.start()
        if self._local is not None:
            self._local.start()
        self._say_where()
        self._upkeep.start()

    def _close(self) -> None:
        """End what was begun, also where ``_open`` failed half way."""
        self._upkeep.close()
        self._on_demand.close()
        self._say_nowhere()
        if self._local is not None:
            self._local.close()
        # Readers that wait for chunks learn from the fills' end that no more will come.
        grace = LAST_WORDS if self._server.drained else GRACE
        closing = threading.Thread(target=self._data.close, args=(grace,), name="close-data")
        closing.start()
        self.service.close()
        closing.join()
        self._root.close()

    def _register_pipelines(self) -> None:
        if self._settings.pipelines is None:
            return
        put = self.service.pipelines.put
        for entry in read_pipelines(self._settings.pipelines):
            key, warm = Key(DEFAULT_TENANT, entry.id), entry.body.warm
            self._admission.check(entry.models, Terms(key.tenant, vouched=True))
            put(key, entry.models, pinned=entry.pinned, warm=warm, vouched=True)


def _boots(registry: Registry, settings: Settings) -> Boots:
    return Boots(registry, kept=settings.boots_kept, kept_for=settings.boots_kept_for)


def _certificates(settings: Settings) -> Certificates | None:
    cert, key = settings.tls_cert, settings.tls_key
    return None if cert is None or key is None else Certificates(cert, key)


def _protocol(certificates: Certificates | None, leaving: Exit) -> Any:  # noqa: ANN401 - for uvicorn
    """Return what handles a connection of the control port: a class, or what makes one."""
    bounded = leaving.protocol(Crowd())
    return bounded if certificates is None else Encryption(certificates).protocol(bounded)


@contextmanager
def _naming(plane: str, host: str, port: int) -> Iterator[None]:
    """Say of an address that cannot be had which plane wanted it."""
    try:
        yield
    except OSError as error:
        # A resolver's codes are negative, and the system has no words for them.
        code = error.errno or 0
        why = os.strerror(code) if code > 0 else error.strerror
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise OSError(f"the {plane} cannot listen on {where}: {why}") from error


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048)
    # Connections inherit it. asyncio sets it only where the socket names its protocol, which this
    # one does not: an answer in two writes then waits 40 ms for the client's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _url(host: str, port: int, scheme: str = "http") -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _share_of_disk(path: Path) -> int:
    disk = os.statvfs(path)
    size = disk.f_blocks * disk.f_frsize
    if size <= 0:
        raise DiskError(f"the file system of {path} says it has {size} bytes; set a capacity")
    return int(size * CAPACITY_SHARE)
