"""Bytes that the disk spoils between their arrival and the hash that confirms the file."""

import os

import pytest

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import IntegrityError
from cache_server.store.stored_file import StoredFile
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, chunks, running_service

DATA = chunks(2.5)


@pytest.fixture
def origin():
    origin = MemoryOrigin({"w.dat": DATA})
    origin.digests = False  # nothing but our own digests can tell
    return origin


@pytest.fixture
def bench(tmp_path, origin, quick_retries):
    with running_service(tmp_path / "root", MemoryOrigins({SOURCE: origin})) as bench:
        bench.put()
        yield bench


@pytest.fixture
def spoiling(monkeypatch):
    """Let the disk spoil chunk 1 when it is written, the first ``times`` times."""
    record, left = StoredFile.record, [0]

    def spoil_and_record(file, chunk, digest):
        if chunk == 1 and left[0]:
            left[0] -= 1
            fd = os.open(file.path, os.O_WRONLY)
            os.pwrite(fd, b"rot", CHUNK_SIZE + 7)
            os.close(fd)
        record(file, chunk, digest)

    monkeypatch.setattr(StoredFile, "record", spoil_and_record)
    return lambda times: left.__setitem__(0, times)


def test_a_chunk_that_the_disk_spoils_is_pulled_again_before_the_file_is_confirmed(
    bench, origin, spoiling
):
    spoiling(1)
    assert bench.warm() is None
    assert bench.read("w.dat", bench.open()) == DATA
    assert origin.sent["w.dat"] == len(DATA) + CHUNK_SIZE


def test_a_disk_that_spoils_whatever_is_written_fails_the_fill(bench, spoiling):
    spoiling(100)
    error = bench.warm()
    assert isinstance(error, IntegrityError)
    assert "does not keep" in str(error)
    assert not bench.cache()["warm"]
