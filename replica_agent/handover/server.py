"""The agent's side: give each consumer the model's memory, then tell it what has arrived.

    acceptor        waits for consumers, and says every few seconds that the agent is alive
    one thread per consumer:  hello -> layout + descriptor -> arrivals -> confirmed -> done

It moves no byte of a model and decides nothing about the pull: it only looks at the transfer.
A consumer is a process of the engine, a rank; a second load in it is a consumer of its own.
"""

import errno
import fcntl
import os
import select
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

from cache_protocol.errors import CacheError, GenerationGoneError, MalformedError, to_problem
from replica_agent.handover.lines import Lines, address, check_peer
from replica_agent.handover.messages import (
    Arrived,
    Done,
    Hello,
    Layout,
    Outcome,
    Placed,
    arrived,
    files,
    layout,
    parse_done,
    parse_hello,
)
from replica_agent.pull import Pull
from replica_agent.transfer import ReplacedError, Transfer

SOCKET = "handover.sock"
CONSUMER = "handover consumer"  # the name of a thread that serves one
BREATH = 0.1  # seconds without a look at consumers when there is no descriptor for one
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PULSE = 5.0  # seconds between two signs of life; consumers give an agent up after 30
# Source: linux/fcntl.h, Linux 5.1: from now on nobody can write to the memory, nor map it shared
# and writable; our own mapping stays as it is.
_SEAL_FUTURE_WRITE = 0x0010


class Memory(Protocol):
    """What the hand-over needs of the place where models arrive."""

    def arena(self, generation: str, model: str) -> "SharedArena":
        """Return the arena of a model; GenerationGoneError when another generation is here."""
        ...


class SharedArena(Protocol):
    """A model in memory, or in a file, that another process can map."""

    @property
    def fd(self) -> int:
        """The descriptor; negative once it is closed."""
        ...

    @property
    def places(self) -> list[int]:
        """Where each file begins, in the order of the manifest, and where the last one ends."""
        ...


@dataclass(frozen=True, slots=True)
class Consumer:
    """One load of one model by one process, as far as it is known."""

    model: str
    pid: int
    rank: int
    peers: int  # processes of this host that were said to load the model
    attached: float  # ``time.monotonic()``
    waited: float = 0.0  # seconds, once it is done
    seconds: float = 0.0  # of the whole load, once it is done
    outcome: Outcome | None = None  # None while it loads
    reason: str | None = None  # why it did not load from here


class HandoverServer:
    """Hands the models of one pull over. Start it, wait until they are consumed, close it."""

    def __init__(self, pull: Pull, memory: Memory, directory: Path) -> None:
        """Hand over what ``pull`` brings into ``memory``, at a socket in ``directory``.

        Args:
            pull: its owner closes it before this server, whose threads look at it.
            memory: a ``HostMemory``, or what takes its place.
            directory: made with mode 0700 if need be.

        Raises:
            OSError: the directory is another user's, or open to others.
        """
        self.path = directory / SOCKET
        self._pull = pull
        self._memory = memory
        self._changed = threading.Condition()
        self._consumers: dict[int, Consumer] = {}
        self._lines: dict[int, Lines] = {}
        self._threads: list[threading.Thread] = []
        self._welcomed = 0  # consumers so far; the number of the last one
        self._closed = False
        _private(directory)
        self._listener = _listen(self.path)
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC)
        self._acceptor = threading.Thread(target=self._accept, name="handover", daemon=True)

    def start(self) -> Self:
        """Start to answer."""
        self._acceptor.start()
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def consumers(self) -> tuple[Consumer, ...]:
        """Everybody who has attached so far, in that order."""
        with self._changed:
            return tuple(self._consumers.values())

    def wait_consumed(self, timeout: float | None = None) -> bool:
        """Wait until every model was loaded by all who said they would; False on ``timeout``.

        A process that went without a word is not waited for; neither does it count.

        Raises:
            CacheError: the pull failed before it had a manifest.
        """
        models = tuple(self._pull.transfer().models)
        with self._changed:
            return self._changed.wait_for(
                lambda: self._closed or consumed(models, self._consumers.values()), timeout
            )

    def close(self) -> None:
        """Hang up on everybody and remove the socket. The pull must be over, or closed."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            lines = list(self._lines.values())
            self._changed.notify_all()
        os.write(self._waker, b"\0")
        if self._acceptor.ident is not None:
            self._acceptor.join()
        self._listener.close()
        self.path.unlink(missing_ok=True)
        for line in lines:
            line.cut()
        for thread in self._threads:
            thread.join()
        os.close(self._wake)
        os.close(self._waker)

    def _accept(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(PULSE * 1000)}
            if self._wake in ready:
                return
            if ready and not self._welcome() and _readable(self._wake, BREATH):
                return
            self._show_life()

    def _welcome(self) -> bool:
        """Take the next consumer; False when this process has no descriptor left for it.

        It then waits in the kernel's line, where ``poll`` sees it again at once: looking again
        without a pause would take a core from the pull for nothing.
        """
        try:
            sock, _ = self._listener.accept()
        except OSError as error:  # or it went before we came
            return error.errno not in _EXHAUSTED
        lines = Lines(sock)
        with self._changed:
            number = self._welcomed = self._welcomed + 1
            self._lines[number] = lines
            closed = self._closed
        if closed:
            lines.cut()
        self._begin(number, sock, lines)
        return True

    def _begin(self, number: int, sock: socket.socket, lines: Lines) -> None:
        thread = threading.Thread(
            target=self._serve, args=(number, sock, lines), name=CONSUMER, daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the system has no thread left: its load goes another way
            self._leave(number)
            lines.close()
        else:
            self._threads.append(thread)

    def _show_life(self) -> None:
        with self._changed:
            lines = [self._lines[n] for n in self._lines if n in self._consumers]
        for line in lines:
            if not line.nudge():
                line.cut()

    def _serve(self, number: int, sock: socket.socket, lines: Lines) -> None:
        """One consumer, from hello to its end. What it does wrong is its own end only."""
        try:
            with suppress(OSError, CacheError), _told(lines):
                pid = check_peer(sock).pid
                words = parse_hello(lines.read() or {})
                self._note(number, Consumer(words.model, pid, words.rank, words.peers, _now()))
                with suppress(OSError):  # it wants no more: its last words are here, or it went
                    self._hand_over(words, lines)
                self._listen_to(number, lines)
        finally:
            self._leave(number)
            lines.close()

    def _hand_over(self, words: Hello, lines: Lines) -> None:
        try:
            transfer = self._transfer(words.model)
            self._send_memory(transfer, words.model, lines)
            self._send_arrivals(transfer, words.model, lines)
        except CacheError as error:
            lines.write({"failed": to_problem(error, 0)})
        except ReplacedError:
            gone = GenerationGoneError(f"{words.model} was replaced at the node; attach again")
            lines.write({"failed": to_problem(gone, 0)})

    def _transfer(self, model: str) -> Transfer:
        """Return the transfer to look at; one that was replaced gives way to the next."""
        transfer = self._pull.transfer()
        while transfer.successor is not None:
            transfer = self._pull.transfer(after=transfer)
        if model not in transfer.models:
            raise MalformedError(f"the pipeline has no model {model}: {', '.join(transfer.models)}")
        return transfer

    def _send_memory(self, transfer: Transfer, model: str, lines: Lines) -> None:
        arena = self._arena(transfer, model)
        placed = [
            Placed(file.path, place, file.size)
            for file, place in zip(
                transfer.manifest.models[model].files, arena.places[:-1], strict=True
            )
        ]
        with _read_only(arena) as fd:
            size = os.fstat(fd).st_size
            lines.write(layout(Layout(transfer.manifest.generation, size, len(placed))), fd)
        for message in files(placed):
            lines.write(message)

    def _send_arrivals(self, transfer: Transfer, model: str, lines: Lines) -> None:
        seen, told = 0, set[Arrived]()
        while parts := transfer.arrivals(model, seen):
            seen += len(parts)
            # A chunk may come again with other content. Whoever has it must not count it twice
            # and learns of it from "rewritten".
            news = [p for part in parts if (p := Arrived(*part)) not in told]
            told.update(news)
            for message in arrived(news):
                lines.write(message)
        _seal(self._arena(transfer, model))
        lines.write({"confirmed": True, "rewritten": transfer.models[model].rewritten})

    def _arena(self, transfer: Transfer, model: str) -> SharedArena:
        return self._memory.arena(transfer.manifest.generation, model)

    def _listen_to(self, number: int, lines: Lines) -> None:
        message = lines.read()
        if message is not None:
            done = parse_done(message)
            with self._changed:
                self._consumers[number] = _with(self._consumers[number], done)

    def _note(self, number: int, consumer: Consumer) -> None:
        with self._changed:
            self._consumers[number] = consumer
            self._changed.notify_all()

    def _leave(self, number: int) -> None:
        with self._changed:
            self._lines.pop(number)
            consumer = self._consumers.get(number)
            if consumer is not None and consumer.outcome is None:
                self._consumers[number] = replace(consumer, outcome=Outcome.GONE)
            self._changed.notify_all()


def consumed(models: Iterable[str], consumers: Iterable[Consumer]) -> bool:
    """Return whether nobody loads now and every model has been loaded by all its processes."""
    known = list(consumers)
    if any(c.outcome is None for c in known):
        return False
    for model in models:
        done = [c for c in known if c.model == model and c.outcome is not Outcome.GONE]
        if len({c.pid for c in done}) < max((c.peers for c in done), default=1):
            return False
    return True


@contextmanager
def _told(lines: Lines) -> Iterator[None]:
    """Tell the other side why it is refused, as far as it listens."""
    try:
        yield
    except CacheError as error:
        with suppress(OSError):
            lines.write({"failed": to_problem(error, 0)})


@contextmanager
def _read_only(arena: SharedArena) -> Iterator[int]:
    """Yield a descriptor of the arena that nobody can write through.

    Raises:
        GenerationGoneError: the arena was closed meanwhile. Its number may be that of another
            file by now: an arena forgets the number before it closes, so we look twice.
    """
    gone = GenerationGoneError("the memory was given up; nothing is left to load")
    number = arena.fd
    if number < 0:
        raise gone
    try:
        fd = os.open(f"/proc/self/fd/{number}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise gone from error
    try:
        if arena.fd != number:
            raise gone
        yield fd
    finally:
        os.close(fd)


def _seal(arena: SharedArena) -> None:
    """Keep everybody from writing to confirmed content, also through other descriptors."""
    number = arena.fd
    if number >= 0:
        with suppress(OSError):  # no memfd, or a kernel before 5.1
            fcntl.fcntl(number, fcntl.F_ADD_SEALS, _SEAL_FUTURE_WRITE)


def _with(consumer: Consumer, done: Done) -> Consumer:
    return replace(
        consumer,
        waited=done.waited,
        seconds=done.seconds,
        outcome=done.outcome,
        reason=done.reason,
    )


def _private(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{directory} must be ours alone: mode 0700, owner {os.geteuid()}")


def _readable(fd: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        path.unlink(missing_ok=True)  # of an agent that was killed: the directory is ours alone
        with address(path) as name:
            listener.bind(name)
        path.chmod(0o600)
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    return listener


def _now() -> float:
    return time.monotonic()
