"""The agent's side: give each consumer the model's memory, then tell it what has arrived.

    acceptor        waits for consumers, and says every few seconds that the agent is alive
    two threads per consumer:  hello -> layout + descriptors -> arrivals -> confirmed
                               plan, refused, done <- what it says meanwhile

It moves no byte of a model and only looks at the transfer. One thing it decides: memory that is
laid out for ranks is of no use to a consumer that has no shard of it, or refuses the one it has,
and the pull brings everything again then. A consumer is a process of the engine, a rank; a second
load in it is a consumer of its own.
"""

import errno
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from cache_protocol.errors import (
    CacheError,
    CapacityError,
    GenerationGoneError,
    MalformedError,
    to_problem,
)
from cache_protocol.plans import checkpoint_digest
from replica_agent.handover.consumers import Consumer, consumed, fared, held
from replica_agent.handover.generations import MixedError, check_one_generation, mixed_problem
from replica_agent.handover.giving import arena_of, send_arrivals, send_memory
from replica_agent.handover.lines import Lines, address, check_peer
from replica_agent.handover.messages import (
    Hello,
    Outcome,
    parse_done,
    parse_hello,
    parse_plan_part,
    parse_refused,
)
from replica_agent.handover.sent import Incoming, Plans, Sent
from replica_agent.lending import LaidOut, Lent
from replica_agent.pull import Pull
from replica_agent.transfer import ReplacedError, Transfer

SOCKET = "handover.sock"
CONSUMER = "handover consumer"  # the name of a thread that serves one
BREATH = 0.1  # seconds without a look at consumers when there is no descriptor for one
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PULSE = 5.0  # seconds between two signs of life; consumers give an agent up after 30


class HandoverServer:
    """Hands the models of one pull over. Start it, wait until they are consumed, close it."""

    def __init__(self, pull: Pull, directory: Path) -> None:
        """Hand over what ``pull`` brings, at a socket in ``directory``.

        Args:
            pull: its arenas are SharedArenas. Its owner closes it before this server, whose
                threads look at it.
            directory: made with mode 0700 if need be.

        Raises:
            OSError: the directory is another user's, or open to others.
        """
        self.path = directory / SOCKET
        self._pull = pull
        self._changed = threading.Condition()
        self._consumers: dict[int, Consumer] = {}
        self._plans = Plans()
        self._remarks: list[str] = []
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

    @property
    def held(self) -> int:
        """Bytes of the host's memory that was laid out and that processes still have."""
        with self._changed:
            return held(each for each in self._consumers.values() if _alive(each.pid))

    @property
    def plans(self) -> tuple[Sent, ...]:
        """What consumers have said they read; the last word of each rank."""
        return self._plans.all

    @property
    def remarks(self) -> tuple[str, ...]:
        """What an operator should know: why memory that was laid out was of no use."""
        with self._changed:
            return tuple(self._remarks)

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
        thread = _started(self._serve, number, sock, lines)
        if thread is None:
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
        teller: threading.Thread | None = None
        try:
            with suppress(OSError, CacheError), _told(lines):
                pid = check_peer(sock).pid
                words = parse_hello(lines.read() or {})
                self._note(number, Consumer(words.model, pid, words.rank, words.peers, _now()))
                transfer = self._hand_over(number, words, lines)
                if transfer is not None:
                    teller = _started(self._tell, number, transfer, words.model, lines)
                if transfer is None or teller is not None:
                    self._listen(number, words, transfer, lines)
        finally:
            self._leave(number)
            lines.cut()
            if teller is not None:
                teller.join()
            lines.close()

    def _hand_over(self, number: int, words: Hello, lines: Lines) -> Transfer | None:
        """Give the memory; return the transfer to tell of, None where there is nothing to tell."""
        try:
            return self._give(number, words, lines)
        except CacheError as error:
            with suppress(OSError):
                lines.write(_failed(error))
        except OSError as error:  # ours; or it wants no more: its last words are here, or it went
            with suppress(OSError):
                lines.write(_failed(CapacityError(f"the memory cannot be handed over: {error}")))
        return None

    def _give(self, number: int, words: Hello, lines: Lines) -> Transfer:
        """Give what there is; memory that another rank has replaced meanwhile gives way."""
        while True:
            transfer = self._transfer(words.model)
            try:
                transfer, lent = self._memory(number, words)
                self._lend(number, lent)  # before it has it: who looks meanwhile counts it
                send_memory(transfer, words.model, lent, lines)
            except GenerationGoneError:  # before the first word: its arena was closed
                self._lend(number, None)
                if not transfer.replaced:
                    raise
            else:
                return transfer

    def _lend(self, number: int, lent: Lent | None) -> None:
        """Note what a consumer has of the host's memory; a device's is counted there."""
        size = lent.words.size if lent is not None and not lent.words.device else 0
        with self._changed:
            self._consumers[number] = replace(self._consumers[number], lent=size)

    def _memory(self, number: int, words: Hello) -> tuple[Transfer, Lent | None]:
        """Return the transfer whose memory is of use to a consumer, and its rank's shard in it."""
        while True:
            transfer = self._transfer(words.model)
            self._check(number, transfer)
            arena = arena_of(transfer, words.model)
            if not isinstance(arena, LaidOut):
                return transfer, None
            if words.adopts and (lent := arena.shard(words.rank)) is not None:
                return transfer, lent
            what = "no plan is about it" if words.adopts else "it takes no memory that is laid out"
            self._bring_again(transfer, words, what)
            if not transfer.replaced:
                self._pull.wait(0)  # raises what ended it, if anything did
                raise GenerationGoneError("the pull was closed; nothing is left to load")

    def _bring_again(self, transfer: Transfer, words: Hello, reason: str) -> None:
        remark = f"rank {words.rank} of {words.model}: {reason}; brought again as plain files"
        if self._pull.again(remark, transfer):
            with self._changed:
                self._remarks.append(remark)

    def _check(self, number: int, transfer: Transfer) -> None:
        with self._changed:
            consumer, generation = self._consumers[number], transfer.manifest.generation
            check_one_generation(self._consumers.values(), consumer, generation, _alive)

    def _take(self, number: int, transfer: Transfer) -> None:
        """Note what a consumer is about to have for good: of two at once, one is refused."""
        with self._changed:
            self._check(number, transfer)
            taken = replace(self._consumers[number], taken=transfer.manifest.generation)
            self._consumers[number] = taken

    def _tell(self, number: int, transfer: Transfer, model: str, lines: Lines) -> None:
        """Tell a consumer what has arrived, and how that ends."""
        with suppress(OSError):
            try:
                send_arrivals(transfer, model, lines, partial(self._take, number, transfer))
            except CacheError as error:
                lines.write(_failed(error))
            except ReplacedError:
                lines.write(_failed(_replaced(model)))

    def _transfer(self, model: str) -> Transfer:
        """Return the transfer to look at; one that was replaced gives way to the next."""
        transfer = self._pull.transfer()
        while transfer.replaced:
            transfer = self._pull.transfer(after=transfer)
        if model not in transfer.models:
            raise MalformedError(f"the pipeline has no model {model}: {', '.join(transfer.models)}")
        return transfer

    def _listen(self, number: int, words: Hello, transfer: Transfer | None, lines: Lines) -> None:
        """Take note of what a consumer says, up to its last words."""
        with ExitStack() as stack:
            incoming: Incoming | None = None
            if transfer is not None:
                incoming = Incoming(self._plans, _nothing_yet(words, transfer))
                stack.callback(incoming.close)
            while (message := lines.read()) is not None:
                if "plan" in message:
                    part = parse_plan_part(message)
                    if incoming is not None:
                        incoming.add(part)
                elif "refused" in message and transfer is not None:
                    self._take_back(words, transfer, parse_refused(message))
                else:
                    done = parse_done(message)
                    with self._changed:
                        self._consumers[number] = fared(self._consumers[number], done)
                    return

    def _take_back(self, words: Hello, transfer: Transfer, reason: str) -> None:
        """Act on a refusal; raises what its sender is told."""
        if not isinstance(arena_of(transfer, words.model), LaidOut):
            raise MalformedError(f"{words.model} was refused that comes as plain files")
        self._bring_again(transfer, words, reason)
        raise _replaced(words.model)

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


def _nothing_yet(words: Hello, transfer: Transfer) -> Sent:
    manifest = transfer.manifest
    checkpoint = checkpoint_digest(manifest.models[words.model], manifest.generation)
    return Sent(words.model, words.rank, manifest.generation, checkpoint)


def _replaced(model: str) -> GenerationGoneError:
    return GenerationGoneError(f"{model} was replaced; attach again")


def _started(target: Callable[..., None], *args: object) -> threading.Thread | None:
    """Return a thread of a consumer; None when the system has none left.

    Its load goes another way then.
    """
    thread = threading.Thread(target=target, args=args, name=CONSUMER, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


@contextmanager
def _told(lines: Lines) -> Iterator[None]:
    """Tell the other side why it is refused, as far as it listens."""
    try:
        yield
    except CacheError as error:
        with suppress(OSError):
            lines.write(_failed(error))


def _failed(error: CacheError) -> dict[str, Any]:
    problem = mixed_problem(error) if isinstance(error, MixedError) else to_problem(error, 0)
    return {"failed": problem}


def _alive(pid: int) -> bool:
    """Return whether there is such a process; one of another user counts, which we may not ask."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
