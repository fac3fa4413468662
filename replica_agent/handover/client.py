"""The engine's side: attach to the agent, map the model, take its tensors as they become whole.

    with attach(socket, "llm") as attached:
        for name, tensor in attached.tensors(): …     # each as soon as its chunks are checked
        attached.wait_confirmed()                      # or raises: what was handed out is void
        attached.done(Outcome.LOADED, seconds)

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
from cache_protocol.ranges import Span
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
)
from replica_agent.readiness import SUFFIX, Names, Readiness

if TYPE_CHECKING:
    import torch

SILENCE = 30.0  # seconds; an agent says every five that it lives
# Source: linux/mman.h. A private mapping of a model larger than memory is only ever read:
# without this the kernel refuses it, because all of it might be written to.
_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)


class HandoverError(ServerUnreachableError):
    """The agent on this host did not answer, or has gone."""


def attach(
    socket_path: Path, model: str, *, rank: int = 0, peers: int = 1, silence: float = SILENCE
) -> "Attached":
    """Ask the agent at ``socket_path`` for ``model``; return once it is mapped.

    Args:
        socket_path: where the agent listens.
        model: its name in the pipeline.
        rank: of this process among the ``peers``; for the report.
        peers: processes of this host that load the model: the agent keeps it for all of them.
        silence: seconds without a sign of life after which the agent is given up.

    Raises:
        HandoverError: nobody listens, or the agent went.
        CacheError: what the agent says instead.
    """
    attached = connect(socket_path, model, rank=rank, peers=peers, silence=silence)
    try:
        attached.map()
    except BaseException:
        attached.close()
        raise
    return attached


def connect(
    socket_path: Path, model: str, *, rank: int = 0, peers: int = 1, silence: float = SILENCE
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
        return Attached(Lines(sock), Hello(model, rank, peers))
    except OSError as error:
        sock.close()
        raise HandoverError(f"no agent answers at {socket_path}: {error}") from error
    except BaseException:
        sock.close()
        raise


class Attached:
    """One model of the agent, mapped into this process. For one thread at a time."""

    def __init__(self, lines: Lines, words: Hello) -> None:
        """Say ``words``; ``map`` waits for the answer."""
        self.waited = 0.0  # seconds that this side stood and waited for the agent
        self.rewritten = False  # the node sent a file again: what was handed out may be stale
        self.confirmed = False
        self.generation = ""
        self.files: Sequence[Placed] = ()
        self._lines = lines
        self._arrived: list[Arrived] = []
        self._sizes: list[int] = []
        self._memory = memoryview(b"")
        self._failure: CacheError | None = None  # after which nothing more is to be heard
        lines.write(hello(words))

    def map(self) -> None:
        """Take the memory and learn what is in it. Raises as ``attach`` does."""
        try:
            layout, self._memory = self._take_memory()
        except OSError as error:
            raise HandoverError(f"the agent has gone: {error}") from error
        self.generation = layout.generation
        self.files = self._take_files(layout)
        self._sizes = [file.size for file in self.files]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tensors(
        self, wanted: Callable[[str], bool] = lambda _: True
    ) -> "Iterator[tuple[str, torch.Tensor]]":
        """Yield ``(name, tensor)`` of the safetensors files that are ``wanted`` by their paths.

        Each comes as soon as it is whole, in no particular order.

        Ends when every tensor was yielded, which may be before the files are confirmed. A
        second call begins anew, over the same memory.

        Raises:
            MalformedError: a header lies, or two files have a tensor of one name.
            CacheError: the agent, or the pull, failed.
        """
        from replica_agent.views import as_tensor  # noqa: PLC0415 - imports torch

        names = Names()
        contents = {
            n: self._content(n)
            for n, f in enumerate(self.files)
            if f.path.endswith(SUFFIX) and wanted(f.path)
        }
        readiness = {n: Readiness(self.files[n].path, c, names) for n, c in contents.items()}
        for file, span in self._parts(contents):
            for entry in readiness[file].arrived(span):
                yield entry.name, as_tensor(contents[file], entry)

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

    def done(self, outcome: Outcome, seconds: float, reason: str | None = None) -> None:
        """Say how the load went, if anybody is there to hear it; nothing more is wanted."""
        with suppress(OSError):
            self._lines.write(done(Done(outcome, self.waited, seconds, reason)))

    def close(self) -> None:
        """Hang up and give the memory up; what tensors look at stays valid."""
        self._lines.close()
        self._memory = memoryview(b"")
        self._failure = None  # its traceback looks at the memory, too

    def _parts(self, files: Collection[int]) -> Iterator[Arrived]:
        """Yield every byte of ``files`` once: what has arrived, then what arrives."""
        if self.confirmed:  # also of files that came twice
            yield from (Arrived(n, Span(0, self._sizes[n])) for n in files if self._sizes[n])
            return
        missing = sum(self._sizes[n] for n in files)  # bytes
        seen = 0
        while missing:
            while seen == len(self._arrived):
                self._hear()
            part = self._arrived[seen]
            seen += 1
            if part.file in files:
                missing -= part.span.size
                yield part

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
        message, fd = self._lines.read_with_descriptor()
        try:
            layout = parse_layout(_unless_failed(message))
            if fd is None:
                raise MalformedError("the agent hands a model over without its memory")
            return layout, _mapped(fd, layout.size)
        finally:
            if fd is not None:
                os.close(fd)

    def _take_files(self, layout: Layout) -> list[Placed]:
        files: list[Placed] = []
        while len(files) < layout.files:
            message = self._next()
            if "files" in message:
                files += parse_files(message, layout.size)
        return files

    def _content(self, file: int) -> memoryview:
        _, place, size = self.files[file]
        return self._memory[place : place + size]


def _unless_failed(message: dict[str, Any] | None) -> dict[str, Any]:
    if message is None:
        raise HandoverError("the agent has gone")
    problem = message.get("failed")
    if problem is not None:
        raise from_problem(problem) if isinstance(problem, dict) else CacheError(str(problem))
    return message


def _mapped(fd: int, size: int) -> memoryview:
    """Map ``fd`` privately; the mapping goes with the last view of it."""
    if os.fstat(fd).st_size < size:  # touching a page beyond the end kills a process
        raise MalformedError("the memory that was handed over is shorter than the agent says")
    flags = mmap.MAP_PRIVATE | _MAP_NORESERVE
    return memoryview(mmap.mmap(fd, size, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE))
