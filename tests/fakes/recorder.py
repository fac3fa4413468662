"""Stands before a node's control plane, hands every request on, and writes down what was asked.

    with Recorder(node.control) as recorder:
        ... a client against recorder.url ...
        assert recorder.seen == [Seen("GET", "/hf/voice/api/models/org/name", 200), …]

The client's ``Host`` goes along, so that what the node says of itself leads back through here.
"""

from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import NamedTuple, Self
from urllib.parse import urlsplit

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date"}


class Seen(NamedTuple):
    """A request, and how it was answered."""

    method: str
    path: str  # with its query
    status: int
    headers: dict[str, str]  # of the answer, in lower case


class Recorder:
    """A server on loopback."""

    def __init__(self, behind: str) -> None:
        self.behind = urlsplit(behind).netloc
        self.seen: list[Seen] = []
        self._lock = Lock()
        recorder = self

        class Handler(_Handler):
            pass

        Handler.recorder = recorder
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True  # a client may keep its connection
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), name="recorder")
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def note(self, seen: Seen) -> None:
        with self._lock:
            self.seen.append(seen)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    recorder: Recorder

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = HTTPConnection(self.recorder.behind, timeout=30)
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        self.recorder.note(Seen(self.command, self.path, answer.status, fields))
        self.send_response(answer.status)
        for name, value in fields.items():
            if name not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", fields.get("content-length", str(len(content))))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _pass_on  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""
