import hashlib
import subprocess

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.digests import (
    ABSENT,
    CHUNK_SIZE,
    DIGEST_SIZE,
    VERDICT_SIZE,
    ChunkHash,
    chunk_count,
    chunk_digest,
    chunk_span,
    chunks_of,
    git_blob_hash,
    verdict,
)
from cache_protocol.ranges import Span, cut
from tests.unit.cache_protocol.legal import sizes, spans


@given(st.integers(0, 50 * CHUNK_SIZE))
def test_the_chunks_of_a_file_are_the_file_cut_at_the_chunk_size(size: int):
    chunks = [chunk_span(n, size) for n in range(chunk_count(size))]
    assert chunks == list(cut(Span(0, size), CHUNK_SIZE))


@given(sizes)
def test_the_last_chunk_ends_where_the_file_ends(size: int):
    count = chunk_count(size)
    assert (count == 0) == (size == 0)
    if count:
        assert chunk_span(count - 1, size).end == size
        assert 0 < chunk_span(count - 1, size).size <= CHUNK_SIZE


@given(spans(limit=20 * CHUNK_SIZE))
def test_chunks_of_a_span_are_those_that_share_a_byte_with_it(span: Span):
    sharing = [
        n
        for n in range(20)
        if max(span.begin, n * CHUNK_SIZE) < min(span.end, (n + 1) * CHUNK_SIZE)
    ]
    assert list(chunks_of(span)) == sharing


def test_the_digest_of_no_bytes_is_the_one_that_xxhash_publishes():
    assert chunk_digest(b"").hex() == "99aa06d3014798d86001c324468d497f"


@given(st.binary(max_size=200), st.integers(0, 200))
def test_a_digest_is_the_same_whole_and_in_pieces(data: bytes, at: int):
    pieces = ChunkHash(data[:at])
    pieces.update(data[at:])
    assert pieces.digest() == chunk_digest(data) == chunk_digest(memoryview(bytearray(data)))


def test_a_digest_fills_its_place_in_the_table_and_is_not_the_mark_of_absence():
    digest = chunk_digest(bytes(CHUNK_SIZE))
    assert len(digest) == DIGEST_SIZE == len(ABSENT)
    assert digest != ABSENT


def test_a_verdict_is_the_sha256_and_then_the_digest_of_the_table():
    sha256 = hashlib.sha256(b"file").digest()
    made = verdict(sha256, b"table")
    assert made == sha256 + xxhash.xxh3_128_digest(b"table")
    assert len(made) == VERDICT_SIZE


def test_a_verdict_over_anything_but_a_sha256_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="32 bytes, not 20"):
        verdict(bytes(20), b"")


def test_git_itself_gives_a_blob_the_same_id():
    data = b"hello\n"
    ours = git_blob_hash(len(data))
    ours.update(data)
    theirs = subprocess.run(
        ["git", "hash-object", "--stdin"], input=data, capture_output=True, check=True
    )
    assert ours.hexdigest() == theirs.stdout.decode().strip()
