"""A node's socket on this host that lends files, or does what a test has it do instead."""

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from cache_protocol.errors import MalformedError
from cache_protocol.local import HELLO, Question, encode, lent, parse_question, refused
from cache_protocol.routes import parse_resource

Answer = tuple[bytes, int | None]  # a line, and a descriptor that is closed afterwards


class Lender:
    """Lends ``models`` from files of its own, which a test may change."""

    def __init__(self, directory: Path, models: dict[str, dict[str, bytes]]) -> None:
        self.path = directory / "socket"
        self.hello = encode(HELLO)
        self.answer: Callable[[Question], Answer] = self.lend
        self.questions: list[Question] = []
        self.heard = b""  # every byte that came
        self._files = {
            (model, name): directory / f"{model}-{number}"
            for model, files in models.items()
            for number, name in enumerate(files)
        }
        for (model, name), file in self._files.items():
            file.write_bytes(models[model][name])
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self.hang_up()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def file(self, model: str, name: str) -> Path:
        return self._files[model, name]

    def lend(self, question: Question) -> Answer:
        resource = parse_resource(urlsplit(question.target).path)
        file = self.file(resource.model, resource.path)
        return lent(file.stat().st_size), os.open(file, os.O_RDONLY)

    def hang_up(self) -> None:
        for sock in list(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _start(self, work: Callable[..., None], *words: object) -> None:
        thread = threading.Thread(target=work, args=words)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._open.append(sock)
                self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError):
            sock.sendall(self.hello)
            buffer, leases = b"", set[str]()
            while data := sock.recv(4096):
                self.heard += data
                buffer += data
                while b"\n" in buffer:
                    line, _, buffer = buffer.partition(b"\n")
                    question = parse_question(line)
                    leases.add(question.lease)
                    self._reply(sock, question, self.answer if len(leases) == 1 else _no)

    def _reply(
        self, sock: socket.socket, question: Question, answer: Callable[[Question], Answer]
    ) -> None:
        self.questions.append(question)
        line, fd = answer(question)
        try:
            socket.send_fds(sock, [line], [] if fd is None else [fd])
        finally:
            if fd is not None:
                os.close(fd)


def _no(_: Question) -> Answer:
    return refused(MalformedError("a connection is for one lease")), None
