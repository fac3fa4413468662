"""A small working node in memory, both planes on one port, with faults to order.

    with FakeNode({"asr": {"config.json": b"{}", "model.safetensors": weights}}) as node:
        node.corrupt("asr", "model.safetensors", chunk=2, sends=1)
        ... replica agent against node.url ...
        assert node.requests("files") == [...]

Faults are set before or during a pull and take effect with the next request. It answers ranges,
digests and verdicts as the real node does, and waits at gates as a node does that still fills.
"""

import hashlib
import json
import re
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from cache_protocol import routes
from cache_protocol.digests import CHUNK_SIZE, chunk_count, chunk_digest, chunk_span, verdict
from cache_protocol.errors import (
    CacheError,
    UnknownPipelineError,
    UnknownPlanError,
    to_problem,
)
from cache_protocol.manifest import File, Lease, Manifest, Model, dump_manifest
from cache_protocol.ranges import Span, content_range, parse_range


@dataclass
class Seen:
    """One request, as it came."""

    method: str
    path: str
    span: Span | None
    headers: dict


@dataclass
class Faults:
    corrupt: dict = field(default_factory=dict)  # (model, path, chunk) -> sends left
    cut_after: list = field(default_factory=list)  # bytes of a file's answer, one per cut
    refuse: list = field(default_factory=list)  # (kind, status, CacheError | None), one per answer
    gates: dict = field(default_factory=dict)  # (model, path, chunk) -> Event
    verdict_gates: dict = field(default_factory=dict)  # (model, path) -> Event
    raw: list = field(default_factory=list)  # (kind, bytes): sent instead of an answer
    fill_error: CacheError | None = None
    sha256: dict = field(default_factory=dict)  # (model, path) -> hex in the manifest
    manifest: bytes | None = None  # instead of the real one
    manifest_error: tuple | None = None  # (status, CacheError)
    plans: bytes | None = None  # instead of a list of them
    plans_gate: threading.Event | None = None  # they are listed, and taken, when it opens


class FakeNode:
    def __init__(self, models, *, pipeline="voice", token=None, know_sha256=True):
        self.models = {m: dict(files) for m, files in models.items()}
        self.pipeline = pipeline
        self.token = token
        self.know_sha256 = know_sha256
        self.generation = 1
        self.ticket = 1  # those below have run out
        self.ticket_life = 900  # seconds, as manifests say
        self.faults = Faults()
        self.lock = threading.Lock()
        self.seen: list[Seen] = []
        self.leases: set[str] = set()
        self.lease_calls: list[tuple[str, str]] = []
        self.boots: list[dict] = []  # reports, as they came
        self.plans: dict[tuple[str, str], bytes] = {}  # (model, digest) -> document, as it came
        self.before_verdict = None  # called once, before the first verdict is worked out
        self.asked = threading.Event()  # a file was asked for
        self._count = 0
        self._port = 0
        self._server = None

    # Life.

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        node = self

        class Handler(_Handler):
            pass

        Handler.node = node
        self._server = _Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self._thread.start()

    def stop(self):
        gates = [*self.faults.gates.values(), *self.faults.verdict_gates.values()]
        for gate in (*gates, self.faults.plans_gate):
            if gate is not None:
                gate.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def restart(self):
        """Go away with every connection and come back on the same port."""
        self.stop()
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}"

    @property
    def generation_id(self):
        return f"{self.generation:032x}"

    # Faults.

    def corrupt(self, model, path, chunk, sends):
        self.faults.corrupt[model, path, chunk] = sends

    def gate(self, model, path, chunk):
        return self.faults.gates.setdefault((model, path, chunk), threading.Event())

    def expire_tickets(self):
        self.ticket += 1

    def replace(self, models):
        """Move on to a new generation; the old one is gone."""
        with self.lock:
            self.models = {m: dict(files) for m, files in models.items()}
            self.generation += 1

    # What a test asks afterwards.

    def requests(self, kind):
        with self.lock:
            return [s for s in self.seen if s.path.startswith(f"/{kind}/")]

    def manifests(self):
        with self.lock:
            return [s for s in self.seen if s.path.endswith("/manifest")]

    def manifests_of_pipelines(self):
        return [s for s in self.manifests() if s.path.startswith(routes.PIPELINES)]

    @property
    def connections(self):
        return self._server.connections

    # What the handler asks.

    def manifest(self, lease=None):
        with self.lock:
            if lease is None:
                self._count += 1
                lease = f"lease-{self._count}"
                self.leases.add(lease)
            models = {
                name: Model(f"file:///{name}", "1", tuple(self._file(name, p) for p in files))
                for name, files in self.models.items()
            }
            expires = datetime.now(UTC) + timedelta(seconds=120)
            return Manifest(
                self.pipeline,
                self.generation_id,
                Lease(lease, expires),
                models,
                ticket_life=self.ticket_life,
            )

    def _file(self, model, path):
        content = self.models[model][path]
        sha256 = hashlib.sha256(content).hexdigest() if self.know_sha256 else None
        sha256 = self.faults.sha256.get((model, path), sha256)
        urls = [
            f"{self.url}{routes.resource_path(routes.Resource(k, self.generation_id, model, path))}"
            f"?ticket={self.ticket}"
            for k in (routes.FILES, routes.DIGESTS, routes.VERDICTS)
        ]
        return File(path, len(content), sha256, (urls[0],), urls[1], urls[2])


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 64

    def __init__(self, *args):
        self._open = set()
        self._guard = threading.Lock()
        super().__init__(*args)

    def process_request(self, request, client_address):
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    @property
    def connections(self):
        with self._guard:
            return len(self._open)

    def hang_up(self):
        with self._guard:
            for sock in self._open:
                _cut(sock)

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the game


def _cut(sock):
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class _RefusedError(Exception):
    def __init__(self, status, error=None):
        self.status, self.error = status, error


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    node: FakeNode

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._note()
        try:
            if self.path.startswith("/v1/"):
                self._control()
            else:
                self._data()
        except _RefusedError as refused:
            self._refuse(refused)

    def do_PUT(self):
        if "/plans/" in self.path:
            self._take_plan()
        else:
            self._lease()

    def do_POST(self):
        report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.node.lock:
            self.node.boots.append(report)
        self._answer(201, b"{}")

    def do_DELETE(self):
        self._lease()

    def _note(self):
        given = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        span = Span(int(given[1]), int(given[2]) + 1) if given else None
        with self.node.lock:
            self.node.seen.append(Seen(self.command, self.path, span, dict(self.headers)))

    def _control(self):
        node = self.node
        if node.token and self.headers.get("Authorization") != f"Bearer {node.token}":
            raise _RefusedError(401)
        if node.faults.manifest_error:
            raise _RefusedError(*node.faults.manifest_error)
        if self.path.startswith(routes.LEASES):
            self._manifest_of_lease(self.path.split("/")[3])
            return
        if self.path.startswith(routes.plans(node.pipeline, "")):
            self._plans(*self.path.split("/")[5:])
            return
        if self.path != routes.pipeline(node.pipeline, "manifest"):
            raise _RefusedError(404, UnknownPipelineError(f"no pipeline at {self.path}"))
        body = node.faults.manifest
        self._answer(200, body or json.dumps(dump_manifest(node.manifest())).encode())

    def _manifest_of_lease(self, lease):
        with self.node.lock:
            self.node.lease_calls.append((self.command, lease))
            if lease not in self.node.leases:
                raise _RefusedError(410)
        self._answer(200, json.dumps(dump_manifest(self.node.manifest(lease))).encode())

    def _plans(self, model, digest=None):
        with self.node.lock:
            kept = {d: document for (m, d), document in self.node.plans.items() if m == model}
        if self.node.faults.plans_gate is not None:
            self.node.faults.plans_gate.wait()
        if digest is None:
            listed = [
                {"digest": d, "key": json.loads(plan)["key"], "bytes": len(plan)}
                for d, plan in kept.items()
            ]
            self._answer(200, self.node.faults.plans or json.dumps({"plans": listed}).encode())
        elif digest in kept:
            self._answer(200, kept[digest])
        else:
            raise _RefusedError(404, UnknownPlanError(f"no plan {digest} of {model}"))

    def _take_plan(self):
        self._note()
        *_, model, digest = self.path.split("/")
        document = self.rfile.read(int(self.headers["Content-Length"]))
        if self.node.faults.plans_gate is not None:
            self.node.faults.plans_gate.wait()
        with self.node.lock:
            self.node.plans[model, digest] = document
        self._answer(204, b"")

    def _lease(self):
        name = self.path.rpartition("/")[2]
        with self.node.lock:
            known = name in self.node.leases
            self.node.lease_calls.append((self.command, name))
            if self.command == "DELETE":
                self.node.leases.discard(name)
        self._answer(204 if known else 404, b"")

    def _data(self):
        node, url = self.node, urlsplit(self.path)
        kind, generation, model, path = routes.parse_resource(url.path)
        with node.lock:
            for i, (which, data) in enumerate(node.faults.raw):
                if which == kind:
                    del node.faults.raw[i]
                    self.wfile.write(data)
                    self.close_connection = True
                    return
            for i, (which, status, error) in enumerate(node.faults.refuse):
                if which == kind:
                    del node.faults.refuse[i]
                    raise _RefusedError(status, error)
        if generation != node.generation_id:
            raise _RefusedError(410)
        if url.query != f"ticket={node.ticket}":
            raise _RefusedError(403)
        content = node.models[model][path]
        {"files": self._file, "digests": self._digests, "verdicts": self._verdict}[kind](
            model, path, content
        )

    def _file(self, model, path, content):
        span = parse_range(self.headers.get("Range"), len(content)) or Span(0, len(content))
        self.node.asked.set()
        first = span.begin // CHUNK_SIZE
        self._wait(model, path, range(first, first + 1))
        self._head(span, len(content))
        cut = self.node.faults.cut_after.pop(0) if self.node.faults.cut_after else None
        at = span.begin
        for chunk in range(first, chunk_count(span.end)):
            if self._failing(model, path, chunk):
                self.close_connection = True
                _cut(self.connection)
                return
            end = min(chunk_span(chunk, len(content)).end, span.end)
            data = self._bytes(model, path, chunk, content[at:end])
            if cut is not None and end - span.begin > cut:
                self.wfile.write(data[: cut - (at - span.begin)])
                self.close_connection = True
                return
            self.wfile.write(data)
            at = end

    def _failing(self, model, path, chunk):
        try:
            self._wait(model, path, range(chunk, chunk + 1))
        except _RefusedError:
            return True
        return False

    def _bytes(self, model, path, chunk, data):
        with self.node.lock:
            left = self.node.faults.corrupt.get((model, path, chunk), 0)
            if not left:
                return data
            self.node.faults.corrupt[model, path, chunk] = left - 1
        return bytes([data[0] ^ 1]) + data[1:]

    def _wait(self, model, path, chunks):
        for chunk in chunks:
            gate = self.node.faults.gates.get((model, path, chunk))
            if gate is not None:
                gate.wait()
                if self.node.faults.fill_error is not None:
                    raise _RefusedError(503, self.node.faults.fill_error)

    def _digests(self, model, path, content):
        table = _table(content)
        span = parse_range(self.headers.get("Range"), len(table)) or Span(0, len(table))
        self._wait(model, path, range(span.begin // 16, span.end // 16))
        self._head(span, len(table))
        self.wfile.write(table[span.begin : span.end])

    def _verdict(self, model, path, content):
        gate = self.node.faults.verdict_gates.get((model, path))
        if gate is not None:
            gate.wait()
            if routes.parse_resource(urlsplit(self.path).path)[1] != self.node.generation_id:
                raise _RefusedError(410)
        with self.node.lock:
            change, self.node.before_verdict = self.node.before_verdict, None
        if change is not None:
            change()
            content = self.node.models[model][path]
        self._answer(200, verdict(hashlib.sha256(content).digest(), _table(content)))

    def _head(self, span, size):
        self.send_response(206)
        self.send_header("Content-Range", content_range(span, size))
        self.send_header("Content-Length", str(span.size))
        self.end_headers()

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, refused):
        error = refused.error or CacheError("no reason")
        problem = to_problem(error, refused.status) if refused.error else {}
        body = json.dumps(problem).encode() if problem else b""
        self._answer(refused.status, body)


def _table(content):
    return b"".join(
        chunk_digest(content[slice(*chunk_span(c, len(content)))])
        for c in range(chunk_count(len(content)))
    )


@contextmanager
def opened(gate):
    """Open ``gate`` at the end, whatever happens: nobody waits at it for ever."""
    try:
        yield gate
    finally:
        gate.set()
