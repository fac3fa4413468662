"""Headers of files that arrive in parts, in any order."""

import itertools
import time

import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.ranges import Span
from cache_protocol.safetensors_header import PREFIX, header_size
from replica_agent.handover.headers import Headers
from replica_agent.handover.messages import Arrived

SAVED = safetensors.torch.save({"layer": torch.zeros(64)})
END = PREFIX + header_size(SAVED[:PREFIX], file_size=len(SAVED))


def expected(content: bytes) -> Headers:
    return Headers({0: ("model.safetensors", memoryview(content))})


@given(st.sets(st.integers(1, len(SAVED) - 1)), st.randoms())
def test_a_header_is_there_with_the_last_of_its_bytes(cuts, random):
    edges = [0, *sorted(cuts), len(SAVED)]
    parts = [Span(*ends) for ends in itertools.pairwise(edges)]
    random.shuffle(parts)
    headers, missing = expected(SAVED), {part for part in parts if part.begin < END}
    for part in parts:
        headers.add(Arrived(0, part))
        missing.discard(part)
        assert headers.complete == (not missing)
    ((path, size, header, entries),) = headers.found
    assert (path, size, header) == ("model.safetensors", len(SAVED), END)
    assert [entry.name for entry in entries] == ["layer"]


def test_what_has_arrived_is_not_looked_through_again_with_every_part():
    size, parts = 64, 40_000  # to search all of them each time takes twenty seconds
    headers = expected(SAVED + bytes(size * parts))
    began = time.perf_counter()
    for n in reversed(range(1, parts)):
        headers.add(Arrived(0, Span(n * size, (n + 1) * size)))
    assert not headers.complete
    assert time.perf_counter() - began < 5
