"""An origin that redirects to the node's own network: loopback, metadata, a name that lies.

Whoever answers for a public repository would have the node fetch what only the inside may see.
Nothing may be connected to; and what was judged is what is connected to, so that a name cannot
have one address when it is judged and another one a moment later.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cache_protocol.errors import MalformedError, OriginUnavailableError
from cache_protocol.ranges import Span
from cache_server.core.reach import parse_reach
from cache_server.origins import dialling
from cache_server.origins.connections import Connections
from cache_server.origins.dialling import dial
from cache_server.origins.ranged_http import RangedClient

INSIDE = [
    "http://127.0.0.2:{port}/",
    "http://localhost:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.2]:{port}/",
    "http://0.0.0.0:{port}/",
    "http://2130706434:{port}/",  # 127.0.0.2 as one number
    "http://0x7f.2:{port}/",
    "http://169.254.169.254/latest/meta-data/",
]


@contextmanager
def hub_that_sends_to(location: str) -> Iterator[str]:
    """Answer one request with a redirect."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(65536)
                head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
                sock.sendall(head.encode())
                sock.recv(1)  # until the client leaves

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.fixture
def inside() -> Iterator[socket.socket]:
    """Something that listens on every address of this machine."""
    with socket.create_server(("0.0.0.0", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.mark.parametrize("location", INSIDE)
def test_a_redirect_into_the_inside_is_not_connected_to(location, inside):
    location = location.format(port=inside.getsockname()[1])
    with hub_that_sends_to(location) as url:
        reach = parse_reach("", url)
        client = RangedClient(Connections(connect_timeout=2, stall_timeout=2, reach=reach))
        try:
            with pytest.raises(MalformedError, match="private address") as caught:
                client.get(url, Span(0, 10))
        finally:
            client.close()
    assert "CACHE_SERVER_PRIVATE_ORIGINS" in str(caught.value)
    with pytest.raises(BlockingIOError):  # nobody came
        inside.accept()


def test_of_a_name_with_both_the_private_address_is_never_tried(inside, monkeypatch):
    both = ["127.0.0.1", "203.0.113.7"]
    tried: list[object] = []
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 80)) for a in both]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(
        socket, "create_connection", lambda address, _timeout: tried.append(address)
    )
    # 203.0.113.0/24 is for documentation, so it is not public either; the operator names it.
    with pytest.raises(AttributeError):  # ``None`` is no socket; what matters is who was tried
        dial(parse_reach("203.0.113.0/24"), "rebinding.example", 80, 1)
    assert tried == [("203.0.113.7", 80)]


def test_behind_a_proxy_an_address_is_judged_here():
    connections = Connections(
        connect_timeout=1, stall_timeout=1, reach=parse_reach(""), proxies={"https": "127.0.0.1:1"}
    )
    with pytest.raises(MalformedError, match="private address"):
        connections.get("https://169.254.169.254/latest", {})
    with pytest.raises(OriginUnavailableError):  # a name is the proxy's; nobody listens there
        connections.get("https://cdn.example/file", {})


def test_a_name_without_an_address_is_told_as_unavailable(monkeypatch):
    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(dialling.socket, "getaddrinfo", nobody)
    connections = Connections(connect_timeout=1, stall_timeout=1, reach=parse_reach(""))
    with pytest.raises(OriginUnavailableError, match="not known"):
        connections.get("http://cdn.example/file", {})


def test_of_a_name_with_thousands_of_addresses_a_few_are_tried(monkeypatch):
    tried: list[object] = []
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"8.8.{n}.8", 80)) for n in range(250)]

    def refused(address: object, _timeout: float) -> None:
        tried.append(address)
        raise TimeoutError

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_connection", refused)
    with pytest.raises(TimeoutError):
        dial(parse_reach(""), "many.example", 80, 1)
    assert len(tried) == dialling.MAX_ADDRESSES
