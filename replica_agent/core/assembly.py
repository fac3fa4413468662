"""Tell when a tensor is whole while parts of its file arrive in any order.

Pure: sees spans, never bytes. Each part costs O(log tensors + tensors it touches).
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from cache_protocol.ranges import Span
from cache_protocol.safetensors_header import TensorEntry


class Assembly:
    """Progress of one file. Every byte of tensor data must be reported exactly once."""

    def __init__(self, entries: Sequence[TensorEntry]) -> None:
        """Follow ``entries`` as ``parse_header`` returns them: in order and without holes."""
        self._entries = [e for e in entries if e.span.size]
        self._begins = [e.span.begin for e in self._entries]
        self._missing = [e.span.size for e in self._entries]  # bytes

    def arrived(self, part: Span) -> Iterator[TensorEntry]:
        """Record ``part`` and yield each tensor that it completes, in the order of the file.

        Tensors without bytes are whole from the start and are never yielded.
        """
        i = max(0, bisect_right(self._begins, part.begin) - 1)
        while i < len(self._entries) and self._begins[i] < part.end:
            span = self._entries[i].span
            overlap = min(span.end, part.end) - max(span.begin, part.begin)
            if overlap > 0:
                self._missing[i] -= overlap
                if self._missing[i] == 0:
                    yield self._entries[i]
            i += 1
