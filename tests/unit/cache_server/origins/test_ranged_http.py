"""The ranged client against servers that lie, stall and wander: raw sockets with a script."""

import socket
import ssl
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from cache_protocol.errors import (
    MalformedError,
    OriginChangedError,
    OriginDeniedError,
    OriginUnavailableError,
)
from cache_protocol.ranges import Span
from cache_server.core.reach import parse_reach
from cache_server.origins.connections import Connections
from cache_server.origins.ranged_http import RangedClient

HERE = parse_reach("127.0.0.1, localhost")
DATA = bytes(range(100))
SPAN = Span(10, 20)
PART = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 10-19/100\r\n"
GOOD = PART + b"Content-Length: 10\r\n\r\n" + DATA[10:20]

Answer = bytes | Callable[[socket.socket], None]


class Script:
    """A server that gives its answers in order, whatever is asked, and keeps the requests."""

    def __init__(self, answers: list[Answer], *, speaks_first: bool) -> None:
        self.requests: list[str] = []
        self.connections = 0
        self.over = Event()
        self._answers = answers
        self._speaks_first = speaks_first  # an answer does not wait for the request
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._live: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError):
            while self._answers:
                connection, _ = self._listener.accept()
                self._live.append(connection)
                self.connections += 1
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        """Answer on one connection until it ends or an answer closes it."""
        with connection, suppress(OSError):
            while self._answers and (head := self._speaks_first or self._head(connection)):
                self.requests.append(str(head))
                answer = self._answers.pop(0)
                if callable(answer):
                    answer(connection)
                    return
                connection.sendall(answer)
                if b"Connection: close" in answer:
                    return

    def _head(self, connection: socket.socket) -> str:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            got = connection.recv(4096)
            if not got:
                return ""
            head += got
        return head.decode()

    def stop(self) -> None:
        self.over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for connection in self._live:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()


@contextmanager
def serving(*answers: Answer, speaks_first: bool = False) -> Iterator[Script]:
    script = Script(list(answers), speaks_first=speaks_first)
    try:
        yield script
    finally:
        script.stop()


@pytest.fixture
def client() -> Iterator[RangedClient]:
    client = RangedClient(Connections(connect_timeout=2, stall_timeout=0.3, reach=HERE))
    yield client
    client.close()


def fetch(client: RangedClient, url: str, span: Span = SPAN, **more: dict[str, str]) -> bytes:
    buffer = memoryview(bytearray(span.size + 50))
    at = 0
    with client.get(f"{url}/file", span, **more).download(span, len(DATA), "it") as stream:
        while count := stream.readinto(buffer[at:]):
            at += count
    return bytes(buffer[:at])


def redirect(location: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def test_a_part_is_read_and_the_connection_is_used_again(client: RangedClient):
    with serving(GOOD, GOOD) as server:
        assert fetch(client, server.url) == fetch(client, server.url) == DATA[10:20]
        assert server.connections == 1
        assert "Range: bytes=10-19\r\n" in server.requests[0]
        assert "Accept-Encoding: identity\r\n" in server.requests[0]


def test_a_200_to_a_range_is_read_from_the_place(client: RangedClient):
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + DATA
    with serving(whole) as server:
        assert fetch(client, server.url) == DATA[10:20]


def test_a_200_of_unknown_length_is_read_from_the_place(client: RangedClient):
    with serving(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + DATA) as server:
        assert fetch(client, server.url) == DATA[10:20]


def test_a_chunked_part_is_read(client: RangedClient):
    chunks = b"4\r\n" + DATA[10:14] + b"\r\n6\r\n" + DATA[14:20] + b"\r\n0\r\n\r\n"
    with serving(PART + b"Transfer-Encoding: chunked\r\n\r\n" + chunks) as server:
        assert fetch(client, server.url) == DATA[10:20]


@pytest.mark.parametrize("chunks", [b"4\r\nabcd\r\n0\r\n\r\n", b"zz\r\n", b"-5\r\nabcde\r\n"])
def test_a_chunked_part_that_ends_early_or_lies_is_unavailable(client: RangedClient, chunks: bytes):
    head = PART + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    with serving(head + chunks) as server, pytest.raises(OriginUnavailableError):
        fetch(client, server.url)


def test_a_body_longer_than_the_span_is_not_read_past_it(client: RangedClient):
    long = PART + b"Content-Length: 50\r\nConnection: close\r\n\r\n" + DATA[10:60]
    with serving(long) as server:
        assert fetch(client, server.url) == DATA[10:20]


def test_a_body_shorter_than_announced_is_unavailable(client: RangedClient):
    short = PART + b"Content-Length: 10\r\nConnection: close\r\n\r\n" + DATA[10:13]
    with serving(short) as server, pytest.raises(OriginUnavailableError, match="7 bytes early"):
        fetch(client, server.url)


def test_a_body_announced_shorter_than_the_span_is_unavailable(client: RangedClient):
    short = PART + b"Content-Length: 3\r\n\r\n" + DATA[10:13]
    with serving(short) as server, pytest.raises(OriginUnavailableError, match="7 bytes early"):
        fetch(client, server.url)


def test_bytes_before_a_reset_are_handed_out(client: RangedClient):
    def reset(connection: socket.socket) -> None:
        connection.sendall(PART + b"Content-Length: 10\r\n\r\n" + DATA[10:13])
        client_has_them.wait(5)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    client_has_them = Event()
    buffer = memoryview(bytearray(10))
    with (
        serving(reset) as server,
        client.get(server.url, SPAN).download(SPAN, 100, "it") as stream,
    ):
        at = 0
        while at < 3:
            at += stream.readinto(buffer[at:])
        client_has_them.set()
        with pytest.raises(OriginUnavailableError):
            stream.readinto(buffer)
        assert bytes(buffer[:3]) == DATA[10:13]


def test_a_stall_in_the_body_ends_after_the_time_limit(client: RangedClient):
    def stall(connection: socket.socket) -> None:
        connection.sendall(PART + b"Content-Length: 10\r\n\r\n" + DATA[10:13])
        server.over.wait(5)

    with serving(stall) as server, pytest.raises(OriginUnavailableError, match="stalled"):
        fetch(client, server.url)


def test_headers_that_come_byte_by_byte_end_after_the_time_limit(client: RangedClient):
    def drip(connection: socket.socket) -> None:
        for byte in b"HTTP/1.1 206 Partial Content\r\nX-Slow: " + b"x" * 1000:
            if server.over.wait(0.02):  # each byte in time, all of them never
                return
            connection.sendall(bytes([byte]))

    with serving(drip) as server, pytest.raises(OriginUnavailableError, match="stalled"):
        fetch(client, server.url)
    assert "X-Slow" not in repr(server.requests)


@pytest.mark.parametrize(
    "head",
    [
        b"X-Many: 1\r\n" * 5000,
        b"X-Long: " + b"x" * 200_000,
        b"",
    ],
)
def test_headers_without_end_are_unavailable(client: RangedClient, head: bytes):
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 206 Partial Content\r\n" + head)
        server.over.wait(5)

    with serving(endless) as server, pytest.raises(OriginUnavailableError):
        fetch(client, server.url)


@pytest.mark.parametrize(
    "noise", [b"SSH-2.0-OpenSSH_9\r\n", b"\x16\x03\x01\x00", b"HTTP/1.1 x\r\n"]
)
def test_a_server_that_does_not_speak_http_is_unavailable(client: RangedClient, noise: bytes):
    def speak(connection: socket.socket) -> None:
        connection.sendall(noise)

    with serving(speak) as server, pytest.raises(OriginUnavailableError):
        fetch(client, server.url)


def test_a_206_of_another_part_is_unavailable(client: RangedClient):
    other = b"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-9/100\r\nContent-Length: 10\r\n\r\n"
    with serving(other + DATA[:10]) as server, pytest.raises(OriginUnavailableError, match="0-9"):
        fetch(client, server.url)


def test_another_size_is_a_change(client: RangedClient):
    grown = b"HTTP/1.1 206 OK\r\nContent-Range: bytes 10-19/101\r\nContent-Length: 10\r\n\r\n"
    with serving(grown + DATA[10:20]) as server, pytest.raises(OriginChangedError):
        fetch(client, server.url)


def test_a_refusal_carries_the_reason(client: RangedClient):
    no = b"HTTP/1.1 403 Forbidden\r\nX-Error-Message: not yours\r\nContent-Length: 0\r\n\r\n"
    with serving(no) as server, pytest.raises(OriginDeniedError, match="not yours"):
        fetch(client, server.url)


def test_a_connection_closed_while_idle_is_replaced(client: RangedClient):
    # The server announces keep-alive and closes all the same, as after its idle timeout.
    closed = Event()

    def once(connection: socket.socket) -> None:
        connection.sendall(GOOD)
        closed.set()

    with serving(once, GOOD) as server:
        assert fetch(client, server.url) == DATA[10:20]
        closed.wait(5)
        assert fetch(client, server.url) == DATA[10:20]
        assert server.connections == 2


def test_a_redirect_is_followed_and_told(client: RangedClient):
    with serving(GOOD) as cdn, serving(redirect(f"{cdn.url}/signed?key=1")) as hub:
        answer = client.get(f"{hub.url}/file", SPAN)
        assert answer.url == f"{cdn.url}/signed?key=1"
        answer.close()


def test_a_relative_redirect_stays_at_its_origin_and_keeps_the_secret(client: RangedClient):
    with serving(redirect("../cache/file"), GOOD) as hub:
        assert fetch(client, hub.url, private={"Authorization": "Bearer x"}) == DATA[10:20]
        assert hub.requests[1].startswith("GET /cache/file ")
        assert all("Authorization: Bearer x" in r for r in hub.requests)


def test_a_secret_is_not_carried_to_another_origin_nor_through_it_and_back(client: RangedClient):
    with serving(GOOD) as cdn, serving(redirect(f"{cdn.url}/x")) as hub:
        fetch(client, hub.url, private={"Authorization": "Bearer x"})
        assert "Authorization" in hub.requests[0]
        assert "Authorization" not in cdn.requests[0]


def test_a_redirect_loop_ends(client: RangedClient):
    with (
        serving(*[redirect("/file")] * 9) as server,
        pytest.raises(OriginUnavailableError, match="more than 5 times"),
    ):
        fetch(client, server.url)
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://host/x", "http://h:99999/", "gopher:x", ""]
)
def test_a_redirect_to_what_is_not_http_is_refused(client: RangedClient, location: str):
    with serving(redirect(location)) as server, pytest.raises(MalformedError):
        fetch(client, server.url)


def test_tls_goes_through_the_proxy_with_its_password_and_no_message_shows_it():
    refused = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with serving(refused) as proxy:
        proxies = {"https": proxy.url.replace("//", "//me:s3cret@"), "no": "localhost"}
        connections = Connections(connect_timeout=2, stall_timeout=2, reach=HERE, proxies=proxies)
        with pytest.raises(OriginUnavailableError, match="407") as caught:
            fetch(RangedClient(connections), "https://hub.example")
        assert proxy.requests[0].startswith("CONNECT hub.example:443 ")
        assert "Proxy-Authorization: Basic bWU6czNjcmV0" in proxy.requests[0]
        assert "s3cret" not in str(caught.value)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for localhost that nobody else has signed."""
    file = tmp_path / "localhost.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", file,
         "-out", tmp_path / "only.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    file.write_bytes(file.read_bytes() + (tmp_path / "only.pem").read_bytes())
    return file


def over_tls(certificate: Path) -> Callable[[socket.socket], None]:
    """Return the answer of a server that speaks TLS first."""

    def answer(connection: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        with suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(4096)
            tls.sendall(GOOD)
            tls.recv(1)

    return answer


def test_a_part_is_read_over_tls(certificate: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    client = RangedClient(Connections(connect_timeout=2, stall_timeout=2, reach=HERE))
    with serving(over_tls(certificate), speaks_first=True) as server:
        assert fetch(client, server.url.replace("http://127.0.0.1", "https://localhost"))
        client.close()


def test_a_certificate_that_nobody_signed_is_refused(certificate: Path, client: RangedClient):
    with (
        serving(over_tls(certificate), speaks_first=True) as server,
        pytest.raises(OriginUnavailableError, match="certificate verify failed"),
    ):
        fetch(client, server.url.replace("http://127.0.0.1", "https://localhost"))


def test_a_message_shows_no_signature(client: RangedClient):
    def hang_up(connection: socket.socket) -> None:
        """Close without a word."""

    with serving(hang_up) as cdn, serving(redirect(f"{cdn.url}/f?Signature=s3cret")) as hub:
        with pytest.raises(OriginUnavailableError) as caught:
            fetch(client, hub.url)
        assert "/f" in str(caught.value)
        assert "s3cret" not in str(caught.value)
