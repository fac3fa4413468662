"""A refusal of many megabytes tries to cost the agent twenty times that."""

import socket
import threading
import tracemalloc

import pytest

from cache_protocol.errors import CacheError
from cache_protocol.json_bounds import MAX_MARKS
from replica_agent.client import ControlClient


def test_a_refusal_of_millions_of_values_is_told_by_its_status():
    body = b'{"code":"disk","x":[' + b",".join([b"[]"] * MAX_MARKS) + b"]}"
    head = b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n" % len(body)
    server = socket.create_server(("127.0.0.1", 0))

    def answer():
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(head + body)

    thread = threading.Thread(target=answer)
    thread.start()
    tracemalloc.start()
    try:
        with pytest.raises(CacheError, match="answered 500"):
            ControlClient(f"http://127.0.0.1:{server.getsockname()[1]}").manifest("voice")
        assert tracemalloc.get_traced_memory()[1] < 4 * len(body)  # it is read, and no more
    finally:
        tracemalloc.stop()
        thread.join()
        server.close()
