"""The engine's side: attach to the agent, map the model, take its tensors as they become whole.

    with attach(socket, "llm") as attached:
        for name, tensor in attached.tensors(): …     # each as soon as its chunks are checked
        attached.wait_confirmed()                      # or raises: what was handed out is void
        attached.done(Outcome.LOADED, seconds)

An engine that ``adopts`` may be given a shard besides: its rank's parameters as a plan lays them
out. The model's memory then holds no more than headers, what the plan keeps, and holes.

No thread, nothing in the background: whoever asks for what is not there waits in ``recv``. The
mapping is private and its descriptor read-only: writing into a tensor copies the page for this
process and hurts nobody else. It lives as long as a tensor does, also after ``close``; no memory
is ever used twice. torch is imported with the first tensor.
"""

import mmap
import os
import socket
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cache_protocol.errors import CacheError, MalformedError, ServerUnreachableError, from_problem
from cache_protocol.plans import MAX_PLAN
from cache_protocol.ranges import Span
from replica_agent.handover.generations import mixed_error
from replica_agent.handover.headers import Headed, Headers
from replica_agent.handover.lines import Lines, address, check_peer
from replica_agent.handover.messages import (
    Arrived,
    Done,
    Hello,
    Layout,
    Outcome,
    Placed,
    done,
    hello,
    parse_arrived,
    parse_files,
    parse_layout,
    plan_parts,
    refused,
)
from replica_agent.lending import ShardWords
from replica_agent.readiness import SUFFIX, Names, Readiness

if TYPE_CHECKING:
    import torch

SILENCE = 30.0  # seconds; an agent says every five that it lives
# Source: linux/mman.h. A private mapping of a model larger than memory is only ever read:
# without this the kernel refuses it, because all of it might be written to.
_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)


class HandoverError(ServerUnreachableError):
    """The agent on this host did not answer, or has gone."""


def attach(  # noqa: PLR0913 - all but two have defaults
    socket_path: Path,
    model: str,
    *,
    rank: int = 0,
    peers: int = 1,
    adopts: bool = False,
    silence: float = SILENCE,
) -> "Attached":
    """Ask the agent at ``socket_path`` for ``model``; return once it is mapped.

    Args:
        socket_path: where the agent listens.
        model: its name in the pipeline.
        rank: of this process among all of the engine; which shard is its own.
        peers: processes of this host that load the model: the agent keeps it for all of them.
        adopts: whether this side can take a shard.
        silence: seconds without a sign of life after which the agent is given up.

    Raises:
        HandoverError: nobody listens, or the agent went.
        CacheError: what the agent says instead.
    """
    attached = connect(socket_path, model, rank=rank, peers=peers, adopts=adopts, silence=silence)
    try:
        attached.map()
    except BaseException:
        attached.close()
        raise
    return attached


def connect(  # noqa: PLR0913 - as ``attach``
    socket_path: Path,
    model: str,
    *,
    rank: int = 0,
    peers: int = 1,
    adopts: bool = False,
    silence: float = SILENCE,
) -> "Attached":
    """Do as ``attach``, up to the request: ``map`` has to follow.

    For a consumer that goes on without the agent when it is refused, and tells it so.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(silence)
        with address(socket_path) as name:
            sock.connect(name)
        check_peer(sock)
        return Attached(Lines(sock), Hello(model, rank, peers, adopts))
    except OSError as error:
        sock.close()
        raise HandoverError(f"no agent answers at {socket_path}: {error}") from error
    except BaseException:
        sock.close()
        raise


class Shard:
    """A rank's own memory, as a plan lays it out: bytes may be read once they were confirmed.

    Whoever adopts it takes the descriptor; else it goes with ``Attached.close``.
    """

    def __init__(self, words: ShardWords, fd: int) -> None:
        """Hold ``fd``, which belongs to this object from now on."""
        self.plan, self.size, self.device = words  # fingerprint; bytes; UUID or "", see ShardWords
        self._fd = fd

    def map(self) -> memoryview:
        """Return a private mapping of memory on the host, which lives as long as a view of it.

        Raises:
            MalformedError: it is shorter than was said, or on a device.
            OSError: it cannot be mapped.
        """
        if self.device or self._fd < 0:
            raise MalformedError("a shard that is on a device, or taken, cannot be mapped here")
        return _mapped(self._fd, self.size)

    def take(self) -> int:
        """Return the descriptor, which is the caller's; -1 when it was taken or closed."""
        fd, self._fd = self._fd, -1
        return fd

    def close(self) -> None:
        """Close the descriptor unless somebody took it."""
        if (fd := self.take()) >= 0:
            os.close(fd)


class Attached:
    """One model of the agent, mapped into this process. For one thread at a time."""

    def __init__(self, lines: Lines, words: Hello) -> None:
        """Say ``words``; ``map`` waits for the answer."""
        self.waited = 0.0  # seconds that this side stood and waited for the agent
        self.rewritten = False  # the node sent a file again: what was handed out may be stale
        self.confirmed = False
        self.generation = ""
        self.checkpoint = ""  # digest, for the key of a plan; "" where the agent knows none
        self.shard: Shard | None = None
        self.files: Sequence[Placed] = ()
        self._lines = lines
        self._arrived: list[Arrived] = []
        self._sizes: list[int] = []
        self._memory = memoryview(b"")
        self._fd = -1  # of the memory
        self._failure: CacheError | None = None  # after which nothing more is to be heard
        lines.write(hello(words))

    def map(self) -> None:
        """Take the memory and learn what is in it. Raises as ``attach`` does."""
        try:
            layout, self._memory = self._take_memory()
        except OSError as error:
            raise HandoverError(f"the agent has gone: {error}") from error
        self.generation, self.checkpoint = layout.generation, layout.checkpoint
        self.files = self._take_files(layout)
        self._sizes = [file.size for file in self.files]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tensors(
        self,
        wanted: Callable[[str], bool] = lambda _: True,
        names: Collection[str] | None = None,
    ) -> "Iterator[tuple[str, torch.Tensor]]":
        """Yield ``(name, tensor)`` of the safetensors files that are ``wanted`` by their paths.

        Each comes as soon as it is whole, in no particular order. Where there is a shard, ``names``
        must say which tensors the plan keeps whole: there is nothing but holes of the others.

        Ends when every tensor was yielded, which may be before the files are confirmed. A
        second call begins anew, over the same memory.

        Raises:
            MalformedError: a header lies, or two files have a tensor of one name.
            CacheError: the agent, or the pull, failed.
        """
        from replica_agent.views import as_tensor  # noqa: PLC0415 - imports torch

        all_names = Names()
        contents = self._contents(wanted)
        readiness = {n: Readiness(self.files[n].path, c, all_names) for n, c in contents.items()}
        left = None if names is None else set(names)
        if left == set():
            return
        for file, span in self._parts(contents):
            for entry in readiness[file].arrived(span):
                if left is None:
                    yield entry.name, as_tensor(contents[file], entry)
                elif entry.name in left:
                    left.remove(entry.name)
                    yield entry.name, as_tensor(contents[file], entry)
            if left == set():
                return

    def headers(self, wanted: Callable[[str], bool] = lambda _: True) -> list[Headed]:
        """Wait for the headers of the safetensors files that are ``wanted``, and return them.

        In the order of ``files``. Raises as ``tensors`` does.
        """
        return self._headers(wanted, None).found

    def headers_within(
        self, seconds: float, wanted: Callable[[str], bool] = lambda _: True
    ) -> list[Headed] | None:
        """Do as ``headers`` for so long at most; None when one of them has not come by then."""
        headers = self._headers(wanted, time.monotonic() + seconds)
        return headers.found if headers.complete else None

    @property
    def memory(self) -> tuple[int, memoryview]:
        """The model's memory: a descriptor that is good until ``close``, and our mapping of it."""
        return self._fd, self._memory

    def read(self, path: str) -> bytes:
        """Wait for a file and return its bytes; FileNotFoundError when there is none."""
        for number, file in enumerate(self.files):
            if file.path == path:
                for _ in self._parts({number}):
                    pass
                return bytes(self._content(number))
        raise FileNotFoundError(f"the model has no file {path!r}")

    def wait_confirmed(self) -> None:
        """Wait until every file of the model is confirmed; raises what prevents it."""
        while not self.confirmed:
            self._hear()

    def send_plan(self, document: bytes) -> None:
        """Give the agent a plan, as ``dump_plan`` makes it, to be kept for the next replica.

        Before ``done``. An agent that is too old to know what it is, or has gone, is not told;
        nor is one of a plan that it would not take.
        """
        if self.checkpoint and len(document) <= MAX_PLAN:
            with suppress(OSError):
                for message in plan_parts(document):
                    self._lines.write(message)

    def refuse(self, reason: str) -> None:
        """Say that the shard is not what this engine reads; return once the agent knows.

        The shard is let go of before. The agent brings the model anew, plain. Nothing more comes
        from here: close, attach again. Who is faster than the agent would be given the same.
        """
        if self.shard is not None:
            self.shard.close()
        with suppress(OSError, CacheError):
            self._lines.write(refused(reason))
            while True:
                self._next()

    def done(
        self,
        outcome: Outcome,
        seconds: float,
        reason: str | None = None,
        *,
        adopted: int = 0,
        copied: str | None = None,
    ) -> None:
        """Say how the load went, if anybody is there to hear it; nothing more is wanted.

        ``adopted`` is how many bytes of parameters are the shard's own memory; ``copied`` says out
        of which memory a GPU copied the rest.
        """
        with suppress(OSError):
            self._lines.write(done(Done(outcome, self.waited, seconds, reason, adopted, copied)))

    def close(self) -> None:
        """Give the memory up and hang up; what tensors look at stays valid."""
        if self.shard is not None:
            self.shard.close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        self._memory = memoryview(b"")
        self._failure = None  # its traceback looks at the memory, too
        self._lines.close()  # last: the agent takes it that the memory has come back

    def _headers(self, wanted: Callable[[str], bool], deadline: float | None) -> Headers:
        contents = self._contents(wanted)
        headers = Headers({n: (self.files[n].path, content) for n, content in contents.items()})
        for part in self._parts(contents, deadline):
            headers.add(part)
            if headers.complete:
                break
        return headers

    def _parts(self, files: Collection[int], deadline: float | None = None) -> Iterator[Arrived]:
        """Yield every byte of ``files`` once: what has arrived, then what arrives.

        ``deadline`` is that of what arrives, monotonic; None: wait for everything.
        """
        if self.confirmed:  # also of files that came twice
            yield from (Arrived(n, Span(0, self._sizes[n])) for n in files if self._sizes[n])
            return
        missing = sum(self._sizes[n] for n in files)  # bytes
        seen = 0
        while missing:
            while seen == len(self._arrived):
                if deadline is not None and not self._wait(deadline):
                    return
                self._hear()
            part = self._arrived[seen]
            seen += 1
            if part.file in files:
                missing -= part.span.size
                yield part

    def _wait(self, deadline: float) -> bool:
        """Return whether there is something to hear before ``deadline``."""
        began = time.monotonic()
        try:
            return began < deadline and self._lines.wait(deadline - began)
        finally:
            self.waited += time.monotonic() - began

    def _hear(self) -> None:
        """Take note of one message of the agent."""
        message = self._next()
        if "arrived" in message:
            self._arrived += parse_arrived(message, self._sizes)
        elif "confirmed" in message:
            self.rewritten = bool(message.get("rewritten"))
            self.confirmed = True
            if sum(part.span.size for part in self._arrived) != sum(self._sizes):
                raise MalformedError("files were confirmed of which bytes never arrived")

    def _next(self) -> dict[str, Any]:
        """Return the next message; one that says why there is nothing to load is raised."""
        if self._failure is not None:
            raise self._failure
        began = time.monotonic()
        try:
            return _unless_failed(self._lines.read())
        except OSError as error:
            self._failure = HandoverError(f"the agent has gone: {error}")
            raise self._failure from error
        except CacheError as error:
            self._failure = error
            raise
        finally:
            self.waited += time.monotonic() - began

    def _take_memory(self) -> tuple[Layout, memoryview]:
        message, fds = self._lines.read_with_descriptors()
        try:
            layout = parse_layout(_unless_failed(message))
            if len(fds) != 1 + (layout.shard is not None):
                raise MalformedError("the agent hands a model over without its memory")
            if layout.shard is not None:
                self.shard = Shard(layout.shard, fds.pop())
            memory = _mapped(fds[0], layout.size)
            self._fd = fds.pop()
            return layout, memory
        finally:
            for fd in fds:
                os.close(fd)

    def _take_files(self, layout: Layout) -> list[Placed]:
        files: list[Placed] = []
        while len(files) < layout.files:
            message = self._next()
            if "files" in message:
                files += parse_files(message, layout.size)
        return files

    def _contents(self, wanted: Callable[[str], bool]) -> dict[int, memoryview]:
        """Return the safetensors files that are wanted."""
        return {
            n: self._content(n)
            for n, f in enumerate(self.files)
            if f.path.endswith(SUFFIX) and wanted(f.path)
        }

    def _content(self, file: int) -> memoryview:
        _, place, size = self.files[file]
        return self._memory[place : place + size]


def _unless_failed(message: dict[str, Any] | None) -> dict[str, Any]:
    if message is None:
        raise HandoverError("the agent has gone")
    problem = message.get("failed")
    if problem is not None:
        if not isinstance(problem, dict):
            raise CacheError(str(problem))
        raise mixed_error(problem) or from_problem(problem)
    return message


def _mapped(fd: int, size: int) -> memoryview:
    """Map ``fd`` privately; the mapping goes with the last view of it."""
    if os.fstat(fd).st_size < size:  # touching a page beyond the end kills a process
        raise MalformedError("the memory that was handed over is shorter than the agent says")
    flags = mmap.MAP_PRIVATE | _MAP_NORESERVE
    return memoryview(mmap.mmap(fd, size, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE))
