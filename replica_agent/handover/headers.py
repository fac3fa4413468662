"""Headers of safetensors files while they arrive: each as soon as the front of its file is there.

Sees checked bytes only, and trusts none of them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cache_protocol.safetensors_header import TensorEntry
from replica_agent.handover.messages import Arrived
from replica_agent.readiness import Front, Names, check_length, header_end, read_header


class Headed(NamedTuple):
    """A safetensors file whose header has arrived."""

    path: str
    size: int  # bytes
    header: int  # bytes before the first tensor
    entries: Sequence[TensorEntry]


class Headers:
    """Those of some files. A part is looked at once: large models have tens of thousands."""

    def __init__(self, files: Mapping[int, tuple[str, memoryview]]) -> None:
        """Expect those of ``files``: by number, path and content.

        Raises:
            MalformedError: a file is too short for any header.
        """
        for _, content in files.values():
            check_length(content)
        self._files = files
        self._missing = {number: Front() for number in files}
        self._found: dict[int, Headed] = {}
        self._names = Names()

    @property
    def complete(self) -> bool:
        """Whether all of them are there."""
        return not self._missing

    @property
    def found(self) -> list[Headed]:
        """What is there, in the order of the files."""
        return [self._found[number] for number in self._files if number in self._found]

    def add(self, part: Arrived) -> None:
        """Note that ``part`` has arrived.

        Raises:
            MalformedError: a header lies, or two files have a tensor of one name.
        """
        front = self._missing.get(part.file)
        if front is None:
            return
        path, content = self._files[part.file]
        end = header_end(content, front.add(part.span))
        if end is not None:
            entries = read_header(content)
            self._names.add(path, entries)
            self._found[part.file] = Headed(path, len(content), end, entries)
            del self._missing[part.file]
