"""An S3 service that compresses what nobody asked it to: a kilobyte may be a gigabyte."""

import gzip

import pytest

from cache_protocol.errors import OriginUnavailableError
from cache_protocol.ranges import Span
from tests.fakes.bucket_peer import bucket, page
from tests.fakes.peer import reply


def test_a_compressed_listing_is_refused_and_not_unpacked():
    def listing(_head, sock):
        sock.sendall(reply(gzip.compress(page("llm/w")), Content_Encoding="gzip"))

    with (
        bucket(listing) as origin,
        pytest.raises(OriginUnavailableError, match="encoded as 'gzip'"),
    ):
        origin.resolve()


def test_a_compressed_object_is_refused_and_not_unpacked():
    def listing(_head, sock):
        sock.sendall(reply(page("llm/w", size=10)))

    def objects(_head, sock):
        sock.sendall(reply(gzip.compress(b"x" * 10), Content_Encoding="gzip"))

    with bucket(listing, objects) as origin:
        found = origin.resolve()
        with (
            pytest.raises(OriginUnavailableError, match="encoded as 'gzip'"),
            origin.open(found.revision, found.files[0], Span(0, 10)),
        ):
            pass
