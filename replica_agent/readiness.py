"""Turn arrivals of chunks into tensors that are whole, in the order in which they become so.

The header of a file is itself something that arrives, and not always first: until it is there,
arrivals of its file are kept. Sees checked bytes only, and trusts none of them.
"""

from collections.abc import Iterator
from typing import Protocol

from cache_protocol.errors import MalformedError
from cache_protocol.names import shown
from cache_protocol.ranges import Span
from cache_protocol.safetensors_header import PREFIX, TensorEntry, header_size, parse_header
from replica_agent.core.assembly import Assembly

SUFFIX = ".safetensors"


class Readable(Protocol):
    """A file's bytes; a slice of them is on the host, wherever they are."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> memoryview: ...


def read_header(content: Readable) -> tuple[TensorEntry, ...]:
    """Return the tensors of a whole file; MalformedError when it lies about them."""
    end = PREFIX + header_size(bytes(content[:PREFIX]), file_size=len(content))
    return parse_header(bytes(content[PREFIX:end]), file_size=len(content))


def check_length(content: Readable) -> None:
    """Raise MalformedError where a file is too short for any header."""
    if len(content) < PREFIX:
        header_size(bytes(content[:]), file_size=len(content))


class Front:
    """How many bytes of a file have arrived before the first gap; each part is told once."""

    def __init__(self) -> None:
        """Start without any."""
        self._end = 0
        self._later: dict[int, int] = {}  # ends of parts behind a gap, by where they begin

    def add(self, part: Span) -> int:
        """Note ``part`` and return the bytes before the first gap."""
        self._later[part.begin] = part.end
        while (end := self._later.pop(self._end, None)) is not None:
            self._end = end
        return self._end


def header_end(content: Readable, front: int) -> int | None:
    """Return where the header of a file ends whose first ``front`` bytes are there, or None.

    Raises:
        MalformedError: the header's length lies.
    """
    if front < PREFIX:
        return None
    end = PREFIX + header_size(bytes(content[:PREFIX]), file_size=len(content))
    return end if front >= end else None


class Names:
    """The tensors of one model, each in one file only."""

    def __init__(self) -> None:
        """Start without any."""
        self._files: dict[str, str] = {}

    def add(self, path: str, entries: tuple[TensorEntry, ...]) -> None:
        """Note the tensors of ``path``; MalformedError when another file has one of them."""
        for entry in entries:
            other = self._files.setdefault(entry.name, path)
            if other != path:
                raise MalformedError(f"tensor {shown(entry.name)} is in {other} and in {path}")


class Readiness:
    """One safetensors file while it arrives."""

    def __init__(self, path: str, content: Readable, names: Names) -> None:
        """Follow ``path``, whose bytes will stand in ``content``.

        Raises:
            MalformedError: the file is too short for any header.
        """
        check_length(content)
        self._path = path
        self._content = content
        self._names = names
        self._kept: list[Span] = []  # while there is no header
        self._front = Front()
        self._assembly: Assembly | None = None

    def arrived(self, span: Span) -> Iterator[TensorEntry]:
        """Record ``span`` and yield each tensor that is whole now and was not before.

        Raises:
            MalformedError: the header lies, or names a tensor of another file.
        """
        if self._assembly is not None:
            yield from self._assembly.arrived(span)
            return
        self._kept.append(span)
        if header_end(self._content, self._front.add(span)) is None:
            return
        entries = read_header(self._content)
        self._names.add(self._path, entries)
        self._assembly = Assembly(entries)
        yield from (e for e in entries if e.span.size == 0)
        for kept in self._kept:
            yield from self._assembly.arrived(kept)
