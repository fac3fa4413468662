"""A stand-in for the Hugging Face Hub with two origins, hub and CDN, and faults to order.

It serves the real huggingface_hub client as well as ours: revisions, paged trees, gated and
private repositories, LFS files behind a redirect to a signed CDN URL that runs out and that
refuses an Authorization header. It counts the bytes it sends.

    with Hub(tmp_path) as hub:
        hub.commit("org/name", {"model.safetensors": data})
        hub.order(Fault("model.safetensors", status=429, headers={"Retry-After": "1"}))

    python -m tests.fakes.hub --root DIR [--rate 200MB]      prints its endpoint, then serves
                                                             DIR/<org>/<name>/ as repositories
"""

import argparse
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Event, Lock, Thread
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.ranges import Span, UnsatisfiableRangeError, content_range, parse_range
from cache_protocol.units import parse_size
from tests.fakes.hub_content import Blob, Repository, make_blob, repositories_below
from tests.fakes.origin import GATE_TIMEOUT, Pace

_PIECE = 2**18  # bytes per sendfile while a rate is set; 2**23 without


@dataclass(slots=True)
class Fault:
    """Something that goes wrong for the next ``times`` answers whose URL path holds ``path``."""

    path: str
    times: int = 1
    at: str | None = None  # "hub" or "cdn"; None is both
    method: str = "GET"
    status: int | None = None  # answer this, with ``headers``
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int = 0  # bytes of body before one of the following
    truncate: bool = False  # close as if all were sent
    reset: bool = False  # RST
    stall: Event | None = None  # wait until it is set
    wrong_chunk: int | None = None  # flip the first byte of this chunk, if it is asked for
    chunk: int | None = None  # only where the answer holds the first byte of this chunk

    def is_for(self, at: str, method: str, path: str) -> bool:
        return self.at in (None, at) and self.method == method and self.path in path


class Request(NamedTuple):
    """A request as it was answered."""

    at: str  # "hub" or "cdn"
    method: str
    path: str  # without query
    range: str | None
    authorization: str | None
    status: int
    request_id: str | None = None  # for whom it was asked


class Hub:
    """Two HTTP servers on loopback, and the repositories that they serve."""

    def __init__(
        self, root: Path, *, rate: float | None = None, page: int = 1000, ttl: float = 3600.0
    ) -> None:
        """Args: root: files go here; rate: bytes/s in all; page: rows; ttl: seconds of a URL."""
        self.root, self.page, self.ttl = root, page, ttl
        self.repositories: dict[str, Repository] = {}
        self.tokens = {"hf_valid": "somebody"}
        self.sent: Counter[str] = Counter()  # bytes of content by "org/name/path"
        self.log: list[Request] = []
        self.stalled = 0  # answers that wait at a gate now
        self._pace = Pace(rate)
        self._paced = rate is not None
        self._epoch = 0  # changes when every URL so far is to run out
        self._key = os.urandom(16)
        self._faults: list[Fault] = []
        self._changed = Condition(Lock())
        self._hub = _Server(self, _HubHandler, "hub")
        self._cdn = _Server(self, _CdnHandler, "cdn")
        self.endpoint, self.cdn = self._hub.url, self._cdn.url

    def __enter__(self) -> Self:
        self._hub.start()
        self._cdn.start()
        return self

    def __exit__(self, *_: object) -> None:
        for fault in self._faults:
            if fault.stall is not None:
                fault.stall.set()
        self._hub.stop()
        self._cdn.stop()

    # content

    def commit(self, repo: str, files: Mapping[str, bytes], *, branch: str = "main") -> str:
        """Commit exactly ``files`` to ``branch`` of ``repo`` and return the commit."""
        tree = {}
        for path, data in files.items():
            directory = self.root / "blobs" / hashlib.sha256(data).hexdigest()
            directory.mkdir(parents=True, exist_ok=True)
            file = directory / path.rpartition("/")[2]
            file.write_bytes(data)
            tree[path] = make_blob(file)
        return self.repository(repo).commit(tree, branch)

    def repository(self, repo: str) -> Repository:
        """Return ``repo``, new if need be."""
        return self.repositories.setdefault(repo, Repository(repo))

    # faults

    def order(self, *faults: Fault) -> None:
        """Let things go wrong, in this order."""
        with self._changed:
            self._faults += faults

    def expire_urls(self) -> None:
        """Let every CDN URL that was given out so far be refused."""
        self._epoch += 1

    def wait_until_stalled(self, answers: int = 1, timeout: float = GATE_TIMEOUT) -> None:
        """Return when ``answers`` answers wait at a gate."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.stalled >= answers, timeout)

    def asked(self, at: str, path: str = "", method: str = "GET") -> list[Request]:
        """Return the requests of the log whose path holds ``path``."""
        with self._changed:
            return [r for r in self.log if (r.at, r.method) == (at, method) and path in r.path]

    # what handlers use

    def take_fault(self, at: str, method: str, path: str, span: Span | None) -> Fault | None:
        with self._changed:
            for fault in self._faults:
                if fault.times and fault.is_for(at, method, path) and _touches(fault, span):
                    fault.times -= 1
                    return fault
        return None

    def record(self, request: Request) -> None:
        with self._changed:
            self.log.append(request)
            self._changed.notify_all()

    def sign(self, path: str, expires: int) -> str:
        message = f"{self._epoch} {expires} {path}".encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()

    def piece(self) -> int:
        return _PIECE if self._paced else 2**23

    def count(self, name: str, size: int) -> None:
        self._pace.take(size)
        with self._changed:
            self.sent[name] += size
            self._changed.notify_all()

    def wait_at(self, gate: Event) -> None:
        with self._changed:
            self.stalled += 1
            self._changed.notify_all()
        gate.wait(GATE_TIMEOUT)
        with self._changed:
            self.stalled -= 1


def _touches(fault: Fault, span: Span | None) -> bool:
    if fault.status is not None:
        return True
    if span is None:  # a redirect or a listing: it has no body to spoil
        return False
    aims = (c for c in (fault.wrong_chunk, fault.chunk) if c is not None)
    return all(span.begin <= chunk * CHUNK_SIZE < span.end for chunk in aims)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # joined at the end
    request_queue_size = 128

    def __init__(self, hub: Hub, handler: type[BaseHTTPRequestHandler], name: str) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.hub, self.name = hub, name
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._live: set[socket.socket] = set()
        self._lock = Lock()
        self._thread = Thread(target=self.serve_forever, args=(0.05,), name=f"fake {name}")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        with self._lock:
            for connection in self._live:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        # Here and not in the connection's own thread, so that stop() knows every connection.
        with self._lock:
            self._live.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._live.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """What hub and CDN share: the log, ordered faults, and bytes of a blob by range."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        self.hub = self.server.hub
        parts = urlsplit(self.path)
        self.route, self.query = parts.path, parse_qs(parts.query, keep_blank_values=True)
        fault = self.hub.take_fault(self.server.name, self.command, unquote(self.route), None)
        if fault is not None:
            self.answer(fault.status or 500, dict(fault.headers))
        else:
            self.serve()

    do_HEAD = do_GET  # noqa: N815 - the names that http.server looks for
    do_POST = do_GET  # noqa: N815

    def serve(self) -> None:
        raise NotImplementedError

    def answer(
        self, status: int, headers: Mapping[str, str] | None = None, body: Any = None
    ) -> None:
        """Send a small answer; ``body`` is JSON."""
        data = b"" if body is None else json.dumps(body).encode()
        fields = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        self.begin(status, {**fields, **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status: int, code: str, message: str, **more: str) -> None:
        said = {"X-Error-Code": code, "X-Error-Message": message}
        self.answer(status, {**said, **more}, {"error": message})

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        # Whoever reads the log after an answer finds its request there.
        got = self.headers
        self.hub.record(
            Request(self.server.name, self.command, unquote(self.route), got.get("Range"),
                    got.get("Authorization"), status, got.get("X-Request-Id"))
        )  # fmt: skip
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send_blob(self, name: str, blob: Blob, headers: Mapping[str, str]) -> None:
        """Send what ``Range`` asks of ``blob``, unless something else was ordered."""
        fields = {"ETag": blob.etag, "Accept-Ranges": "bytes", **headers}
        try:
            part = parse_range(self.headers.get("Range"), blob.size)
        except UnsatisfiableRangeError:
            self.answer(416, {**fields, "Content-Range": f"bytes */{blob.size}"})
            return
        span = part or Span(0, blob.size)
        fields["Content-Length"] = str(span.size)
        fields["Content-Type"] = "application/octet-stream"
        if part is not None:
            fields["Content-Range"] = content_range(part, blob.size)
        fault = None
        if self.command == "GET":
            fault = self.hub.take_fault(self.server.name, "GET", unquote(self.route), span)
        self.begin(206 if part else 200, fields)
        if self.command == "GET":
            self._send_body(name, blob, span, fault)

    def _send_body(self, name: str, blob: Blob, span: Span, fault: Fault | None) -> None:
        with blob.file.open("rb") as file:
            fd, at = file.fileno(), span.begin
            if fault is not None:
                at = self._send(name, fd, Span(at, min(at + fault.after, span.end)))
                if fault.stall is not None:
                    self.hub.wait_at(fault.stall)
                if fault.reset or fault.truncate:
                    self._cut(reset=fault.reset)
                    return
                if fault.wrong_chunk is not None:
                    at = self._send(name, fd, Span(at, fault.wrong_chunk * CHUNK_SIZE))
                    self.connection.sendall(bytes([os.pread(fd, 1, at)[0] ^ 0xFF]))
                    self.hub.count(name, 1)
                    at += 1
            self._send(name, fd, Span(at, span.end))

    def _send(self, name: str, fd: int, span: Span) -> int:
        at = span.begin
        while at < span.end:
            count = min(span.end - at, self.hub.piece())
            sent = os.sendfile(self.connection.fileno(), fd, at, count)
            at += sent
            self.hub.count(name, sent)
        return at

    def _cut(self, *, reset: bool) -> None:
        self.close_connection = True
        if reset:  # RST instead of FIN: linger on, for no time
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

    def log_message(self, *_: object) -> None:
        """Say nothing: requests are in ``Hub.log``."""


class _HubHandler(_Handler):
    """The API and ``resolve``."""

    def serve(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.route == "/api/whoami-v2":
            self._whoami()
        elif self.route.startswith("/api/models/"):
            self._api(self.route.removeprefix("/api/models/"))
        elif "/resolve/" in self.route:
            repo, _, rest = self.route.lstrip("/").partition("/resolve/")
            revision, _, path = rest.partition("/")
            self._resolve(unquote(repo), unquote(revision), unquote(path))
        else:
            self.answer(404)

    def _whoami(self) -> None:
        user = self._user()
        if user is None:
            self.refuse(401, "", "Invalid username or password.")
        else:
            self.answer(200, {}, {"type": "user", "name": user})

    def _api(self, rest: str) -> None:
        match = re.fullmatch(
            r"(.+?)(?:/(tree|revision|paths-info|auth-check)(?:/([^/]+)(?:/(.*))?)?)?", rest
        )
        assert match is not None
        what, revision = match[2], unquote(match[3] or "main")
        found = self._find(unquote(match[1]), revision)
        if found is None:
            return
        repository, commit = found
        tree = repository.commits[commit]
        if what == "auth-check":
            if self._may_read(repository, {}):
                self.answer(200, {}, {})
        elif what == "tree":
            self._tree(tree, unquote(match[4] or ""))
        elif what == "paths-info":
            wanted = parse_qs(self.body.decode()).get("paths", [])
            self.answer(200, {}, [tree[p].row(p) for p in wanted if p in tree])
        else:
            self._info(repository, commit)

    def _info(self, repository: Repository, commit: str) -> None:
        blobs = "blobs" in self.query
        tree = repository.commits[commit]
        siblings = [
            {"rfilename": p, **({"size": b.size, "blobId": b.oid} if blobs else {})}
            for p, b in tree.items()
        ]
        info = {"id": repository.id, "modelId": repository.id, "sha": commit, "siblings": siblings}
        gated = "manual" if repository.gated else False
        self.answer(200, {}, {**info, "gated": gated, "private": repository.private, "tags": []})

    def _tree(self, tree: Mapping[str, Blob], below: str) -> None:
        prefix = f"{below}/" if below else ""
        inside = {p: b for p, b in tree.items() if p.startswith(prefix)}
        if below and not inside:
            self.refuse(404, "EntryNotFound", f"{below} does not exist")
            return
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        rows = _rows(inside, prefix, recursive=recursive)
        at = int(self.query.get("cursor", ["0"])[0])
        headers = {}
        if at + self.hub.page < len(rows):
            more = f"{self.server.url}{self.route}?recursive={str(recursive).lower()}"
            headers["Link"] = f'<{more}&expand=false&cursor={at + self.hub.page}>; rel="next"'
        self.answer(200, headers, rows[at : at + self.hub.page])

    def _resolve(self, repo: str, revision: str, path: str) -> None:
        found = self._find(repo, revision)
        if found is None:
            return
        repository, commit = found
        about = {"X-Repo-Commit": commit}
        if not self._may_read(repository, about):
            return
        blob = repository.commits[commit].get(path)
        if blob is None:
            self.refuse(404, "EntryNotFound", "Entry not found", **about)
        elif blob.sha256 is None:
            self.send_blob(f"{repo}/{path}", blob, about)
        else:
            about |= {"X-Linked-Size": str(blob.size), "X-Linked-ETag": blob.etag}
            location = f"/{repo}/{commit}/{quote(path)}"
            expires = int(time.time() + self.hub.ttl)
            signature = self.hub.sign(location, expires)
            about["Location"] = f"{self.hub.cdn}{location}?Expires={expires}&Signature={signature}"
            self.answer(302, about)

    def _find(self, repo: str, revision: str) -> tuple[Repository, str] | None:
        """Return repository and commit, or answer why not."""
        repository = self.hub.repositories.get(repo)
        if repository is None or (repository.private and self._user() is None):
            # The hub does not say whether a repository that is not yours exists.
            status = 404 if self._user() else 401
            self.refuse(status, "RepoNotFound", "Repository not found")
            return None
        commit = repository.resolve(revision)
        if commit is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repository, commit

    def _may_read(self, repository: Repository, about: Mapping[str, str]) -> bool:
        if not repository.gated or self._user() is not None:
            return True
        status = 403 if self.headers.get("Authorization") else 401
        message = f"Access to model {repository.id} is restricted and you are not in the list."
        self.refuse(status, "GatedRepo", message, **about)
        return False

    def _user(self) -> str | None:
        return self.hub.tokens.get(
            (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        )


def _rows(inside: Mapping[str, Blob], prefix: str, *, recursive: bool) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for path, blob in inside.items():
        parts = path.removeprefix(prefix).split("/")
        for n in range(1, len(parts)):
            directory = prefix + "/".join(parts[:n])
            oid = hashlib.sha1(directory.encode()).hexdigest()
            rows[directory] = {"type": "directory", "path": directory, "size": 0, "oid": oid}
        rows[path] = blob.row(path)
    deep = [r for r in rows.values() if "/" in str(r["path"]).removeprefix(prefix)]
    return [r for r in rows.values() if recursive or r not in deep]


class _CdnHandler(_Handler):
    """Bytes of LFS files behind signed URLs."""

    def serve(self) -> None:
        if self.headers.get("Authorization"):
            # As S3 does: a signed URL and a header are two mechanisms, and one is allowed.
            self.answer(400, {"X-Error-Message": "Only one auth mechanism allowed"})
            return
        expires = int(self.query.get("Expires", ["0"])[0])
        signature = self.query.get("Signature", [""])[0]
        path = unquote(self.route)
        location = quote(path)
        if expires < time.time() or signature != self.hub.sign(location, expires):
            self.answer(403, {"X-Error-Message": "Request has expired"})
            return
        repo, commit, name = re.fullmatch(r"/(.+?)/([0-9a-f]{40})/(.+)", path).groups()  # type: ignore[union-attr]
        blob = self.hub.repositories[repo].commits[commit][name]
        # A CDN's ETag is its own affair, and no sha256.
        opaque = hashlib.sha1(str(blob.sha256).encode()).hexdigest()
        self.send_blob(f"{repo}/{name}", blob, {"ETag": f'"{opaque}-4"'})


def main() -> None:
    """Serve a directory until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--root", type=Path, required=True, help="holds <org>/<name>/ directories")
    parser.add_argument("--rate", type=parse_size, help="bytes per second in all, such as 200MB")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Hub(options.root, rate=options.rate) as hub:
        hub.repositories = repositories_below(options.root)
        print(hub.endpoint, flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()
        sys.stdout.flush()


if __name__ == "__main__":
    main()
