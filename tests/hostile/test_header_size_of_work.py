"""A header of many megabytes tries to cost more time or memory than its size allows."""

import gc
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from cache_protocol.errors import MalformedError
from cache_protocol.safetensors_header import parse_header

SIZE = 2**20  # bytes; the bounds scale with it
SECONDS = 2.0 * SIZE / 2**20  # some 20 times what a quiet core takes
MEMORY = 40 * SIZE  # bytes; Python objects are larger than their JSON


def _many_tensors() -> bytes:
    field = '"%07d":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}'
    return ("{" + ",".join(field % (n, n, n + 1) for n in range(SIZE // 64)) + "}").encode()


HEADERS = {
    "spaces": b" " * SIZE,
    "brackets": b"[" * SIZE,
    "digits": b'{"a":' + b"9" * SIZE + b"}",
    "empty lists": b"[" + b"[]," * (SIZE // 3) + b"[]]",
    "one name": b'{"' + b"a" * SIZE + b'":0}',
    "half pairs": b'{"' + b"\\ud800" * (SIZE // 6) + b'":0}',
    "dimensions": b'{"a":{"dtype":"U8","shape":['
    + b"1," * (SIZE // 2)
    + b'1],"data_offsets":[0,1]}}',
    "tensors": _many_tensors(),
}


@pytest.fixture
def memory() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.fixture
def alone() -> Iterator[None]:
    """Keep what the tests before have left out of collections: it is not the header's work."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def refuse(header: bytes) -> MalformedError:
    with pytest.raises(MalformedError) as caught:
        parse_header(header, file_size=8 + len(header))
    return caught.value


@pytest.mark.parametrize("kind", HEADERS)
def test_the_time_for_a_large_header_is_bounded_by_its_size(kind: str, alone: None):
    started = time.thread_time()
    error = refuse(HEADERS[kind])
    assert time.thread_time() - started < SECONDS
    assert len(str(error)) < 2000


@pytest.mark.parametrize("kind", sorted(HEADERS.keys() - {"dimensions", "empty lists", "tensors"}))
def test_the_memory_for_a_large_header_is_bounded_by_its_size(kind: str, memory: None):
    refuse(HEADERS[kind])
    assert tracemalloc.get_traced_memory()[1] < MEMORY


def test_a_header_of_very_many_good_tensors_is_read_in_bounded_time():
    field = '"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    header = ("{" + ",".join(field % n for n in range(20_000)) + "}").encode()
    started = time.thread_time()
    assert len(parse_header(header, file_size=8 + len(header))) == 20_000
    assert time.thread_time() - started < SECONDS
