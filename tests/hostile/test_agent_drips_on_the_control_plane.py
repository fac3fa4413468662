"""A control plane that drips its answer ends in a bounded time, whatever each read takes."""

import socket
import threading
import time

import pytest

from cache_protocol.errors import ServerUnreachableError
from replica_agent.client import ControlClient


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
def test_a_manifest_that_drips_is_given_up_as_a_whole(start):
    gone = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def drip():
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(start)
            while not gone.wait(0.01):
                try:
                    connection.send(b" ")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    client = ControlClient(f"http://127.0.0.1:{server.getsockname()[1]}")
    began = time.monotonic()
    try:
        with pytest.raises(ServerUnreachableError):
            client.manifest("voice", timeout=0.3)
    finally:
        gone.set()
        thread.join()
        server.close()
    assert time.monotonic() - began < 5
