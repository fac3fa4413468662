"""The network floor: bare ``sendfile`` into ``recv_into``, two processes, no protocol, no digest.

    python -m benchmarks.floor send FILE …                 prints its port, sends for ever
    python -m benchmarks.floor receive PORT LANES FILE …   prints seconds

A receiver in the sender's interpreter would share its GIL, so each is a process of its own.
"""

import os
import socket
import struct
import sys
import threading
import time
from pathlib import Path

from benchmarks.memory import new_memory, pieces
from benchmarks.threads import together

EXTENT = 64 * 2**20  # bytes that a lane asks for at a time
_REQUEST = struct.Struct("!IQQ")  # which file, begin, end


def receive(port: int, lanes: int, files: list[Path]) -> float:
    """Return the seconds it takes to pull ``files`` into new memory."""
    begun = time.perf_counter()
    memory = new_memory(files)
    queue = pieces(files, EXTENT)

    def lane() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            for piece in queue:
                connection.sendall(_REQUEST.pack(piece.file, *piece.span))
                into = memory[piece.at : piece.at + piece.span.size]
                while into:
                    into = into[connection.recv_into(into) :]

    together(lane, lanes)
    return time.perf_counter() - begun


def send(listener: socket.socket, files: list[Path]) -> None:
    """Answer every connection, one thread each, until this process is ended."""
    fds = [os.open(path, os.O_RDONLY) for path in files]
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_answer, args=(connection, fds), daemon=True).start()


def _answer(connection: socket.socket, fds: list[int]) -> None:
    with connection:
        while request := connection.recv(_REQUEST.size, socket.MSG_WAITALL):
            file, at, end = _REQUEST.unpack(request)
            while at < end:
                at += os.sendfile(connection.fileno(), fds[file], at, end - at)


def main(arguments: list[str]) -> None:
    """Be one side of the pair."""
    if arguments[0] == "send":
        listener = socket.create_server(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        send(listener, [Path(name) for name in arguments[1:]])
    else:
        port, lanes, *names = arguments[1:]
        print(receive(int(port), int(lanes), [Path(name) for name in names]))


if __name__ == "__main__":
    main(sys.argv[1:])
