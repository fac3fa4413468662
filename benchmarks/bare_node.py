"""A node's two ways for bytes without the rest of a node: for machines that have torch, no more.

    python -m benchmarks.bare_node FILE …        prints its URL, and serves until SIGTERM

The data plane and the socket for replicas of the same host are the real ones, and so is every byte
that they say; the shelf is a few files that are whole, and the control plane answers one manifest
to whoever asks.
"""

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cache_protocol import routes, tickets
from cache_protocol.digests import CHUNK_SIZE, chunk_count, chunk_digest, chunk_span, verdict
from cache_protocol.local import Offer
from cache_protocol.manifest import File, Lease, Manifest, Model, dump_manifest
from cache_protocol.ranges import Span
from cache_server.data.plane import DataPlane
from cache_server.local.plane import FOR_US, LocalPlane
from cache_server.local.register import Register
from cache_server.local.rights import Rights
from cache_server.ports import ReadableFile

PIPELINE, MODEL = "bench", "model"
_GENERATION = "0" * 32
_LIFE = 3600  # seconds
_KEYS = tickets.Keys("bare", (tickets.Key("k1", os.urandom(tickets.KEY_SIZE)),))
_NO_SHA256 = bytes(32)  # the manifest promises none


class _WholeFile:
    """A file that is there; a ``ReadableFile``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.ended = False
        self._table = b"".join(self._digest(n) for n in range(chunk_count(self.size)))
        self.etag = f'"{chunk_digest(self._table).hex()}"'

    def open(self) -> int:
        return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def lend(self) -> int | None:
        return self.open()

    def stream(self, span: Span, pause: Callable[[float], None]) -> Generator[memoryview] | None:
        del span, pause
        return None  # everything is on disk

    def failed(self, offset: int, error: Exception) -> None:
        print(f"{self.path}, byte {offset}: {error}", file=sys.stderr)

    def present_until(self, offset: int, timeout: float) -> int:
        del offset, timeout
        return self.size

    def digests(self, chunks: range, timeout: float) -> bytes:
        del timeout
        return self._table[chunks.start * 16 : chunks.stop * 16]

    def verdict(self, timeout: float) -> bytes:
        del timeout
        return verdict(_NO_SHA256, self._table)

    def revalidate(self, chunk: int, timeout: float) -> None:
        del chunk, timeout

    def _digest(self, chunk: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(chunk * CHUNK_SIZE)
            return chunk_digest(file.read(chunk_span(chunk, self.size).size))


class _Shelf:
    """The files, by name; a ``Shelf``."""

    def __init__(self, paths: list[Path]) -> None:
        self.files = {path.name: _WholeFile(path) for path in paths}

    def find(self, generation: str, model: str, path: str) -> ReadableFile:
        if (generation, model) != (_GENERATION, MODEL) or path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]


def _manifest(shelf: _Shelf, address: tuple[str, int], offer: Offer) -> Manifest:
    expires = int(time.time()) + _LIFE

    def url(kind: str, name: str) -> str:
        path = routes.resource_path(routes.Resource(kind, _GENERATION, MODEL, name))
        query = tickets.sign(_KEYS, "default", path, expires)
        return f"http://{address[0]}:{address[1]}{path}?{query}"

    files = tuple(
        File(
            name,
            file.size,
            None,
            (url(routes.FILES, name),),
            url(routes.DIGESTS, name),
            url(routes.VERDICTS, name),
        )
        for name, file in shelf.files.items()
    )
    lease = Lease("bench", datetime.now(UTC) + timedelta(seconds=_LIFE))
    models = {MODEL: Model("file:///bench", "1", files)}
    return Manifest(PIPELINE, _GENERATION, lease, models, ticket_life=_LIFE, local=offer)


def _handler(answer: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply(200, answer)

        def do_DELETE(self) -> None:
            self._reply(204)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _reply(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

    return Handler


def _main(paths: list[Path]) -> None:
    shelf, ended = _Shelf(paths), threading.Event()
    with tempfile.TemporaryDirectory() as directory:
        data = DataPlane(shelf, lambda: _KEYS, host="127.0.0.1", port=0)
        rights = Rights(shelf, lambda: _KEYS, lambda _: _GENERATION, time.time)
        local = LocalPlane(Path(directory) / "local.sock", FOR_US, rights, Register())
        manifest = dump_manifest(_manifest(shelf, data.address, local.offer))
        handler = _handler(json.dumps(manifest).encode())
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        data.start()
        local.start()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        ended.wait()
        server.shutdown()
        server.server_close()
        local.close()
        data.close()


if __name__ == "__main__":
    _main([Path(name) for name in sys.argv[1:]])
