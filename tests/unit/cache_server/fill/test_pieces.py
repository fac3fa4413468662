from contextlib import contextmanager

import pytest

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import OriginDeniedError, OriginUnavailableError
from cache_protocol.ranges import Span
from cache_server.core.backoff import ATTEMPTS
from cache_server.core.drip import DripError
from cache_server.fill.fill import FillStoppedError
from cache_server.fill.pieces import DRIPS, RemoteFile, pieces, until_it_answers
from tests.fakes.origin import MemoryOrigin
from tests.fakes.service import chunks

DATA = chunks(1.5)
ALL = Span(0, len(DATA))


@pytest.fixture
def origin():
    return MemoryOrigin({"w": DATA})


class Pauses(list):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def pulled(origin: MemoryOrigin, span: Span = ALL, pause=lambda _: None) -> bytes:
    listing = origin.resolve()
    buffer = memoryview(bytearray(2**20))
    data = bytearray()
    for at, piece in pieces(
        RemoteFile(origin, listing.revision, listing.files[0]), span, buffer=buffer, pause=pause
    ):
        assert at == span.begin + len(data)
        assert at // CHUNK_SIZE == (at + len(piece) - 1) // CHUNK_SIZE
        data += piece
    return bytes(data)


def test_the_pieces_tile_the_span_and_cross_no_chunk(origin):
    span = Span(CHUNK_SIZE - 3_000_001, CHUNK_SIZE + 77)
    assert pulled(origin, span) == DATA[span.begin : span.end]


@pytest.mark.parametrize("count", [0, 1, 2**20 - 1, 2**20, CHUNK_SIZE + 5])
def test_a_lost_connection_resumes_at_the_next_byte(origin, count):
    origin.break_after("w", count)
    assert pulled(origin) == DATA
    assert [span.begin for _, span in origin.requests] == [0, count]
    assert origin.sent["w"] == len(DATA)


def test_an_open_that_fails_is_tried_again(origin):
    pauses = Pauses()
    origin.fail(OriginUnavailableError("503"), times=3)
    assert pulled(origin, pause=pauses) == DATA
    assert len(pauses) == 3
    assert pauses[0] <= 0.5


def test_the_origins_own_wish_is_waited_for(origin):
    pauses = Pauses()
    origin.fail(OriginUnavailableError("429", retry_after=30))
    pulled(origin, pause=pauses)
    assert 30 <= pauses[0] < 31


def test_a_wish_beyond_patience_is_a_refusal(origin):
    origin.fail(OriginUnavailableError("429", retry_after=3600))
    with pytest.raises(OriginUnavailableError, match="429"):
        pulled(origin)


def test_too_many_tries_without_a_byte_end_it_with_the_last_error(origin):
    pauses = Pauses()
    origin.fail(OriginUnavailableError("busy"), times=ATTEMPTS)
    with pytest.raises(OriginUnavailableError, match="busy"):
        pulled(origin, pause=pauses)
    assert len(pauses) == ATTEMPTS - 1


def test_every_byte_of_progress_makes_patience_new(origin):
    for _ in range(3 * ATTEMPTS):
        origin.break_after("w", 10)
    assert pulled(origin) == DATA


def test_a_denial_is_not_tried_again(origin):
    origin.fail(OriginDeniedError("gated"))
    with pytest.raises(OriginDeniedError):
        pulled(origin)
    assert len(origin.requests) == 1


def test_a_stop_ends_the_waiting(origin):
    origin.fail(OriginUnavailableError("busy"))

    def stop(_: float) -> None:
        raise FillStoppedError("stop")

    with pytest.raises(FillStoppedError):
        pulled(origin, pause=stop)


def test_a_question_is_asked_until_it_is_answered(origin):
    origin.fail_resolve(OriginUnavailableError("busy"), times=2)
    until_it_answers(origin.resolve, Pauses())
    assert origin.resolves == 3


class Dripping(MemoryOrigin):
    """Sends one byte on each connection, and is then found to be too slow."""

    @contextmanager
    def open(self, revision, file, span):
        with super().open(revision, file, Span(span.begin, span.begin + 1)) as stream:
            yield Drop(stream)


class Drop:
    def __init__(self, stream):
        self.stream = stream

    def readinto(self, into):
        if count := self.stream.readinto(into[:1]):
            return count
        raise DripError("1 bytes came in 30 s")


def test_an_origin_that_drips_is_given_up_although_some_bytes_come():
    origin = Dripping({"w": DATA})
    with pytest.raises(DripError):
        pulled(origin)
    assert len(origin.requests) == DRIPS
