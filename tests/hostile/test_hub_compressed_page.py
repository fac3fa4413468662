"""A hub that compresses its listing, though nobody asked for it: a kilobyte may be a gigabyte."""

import gzip

import pytest

from cache_protocol.errors import OriginUnavailableError
from tests.fakes.hub_peer import listed_by, rows
from tests.fakes.peer import reply


def test_a_compressed_page_is_refused_and_not_unpacked():
    asked = []

    def tree(head, sock):
        asked.append(head.lower())
        sock.sendall(reply(gzip.compress(rows(1)), Content_Encoding="gzip"))

    with (
        listed_by(tree) as origin,
        pytest.raises(OriginUnavailableError, match="encoded as 'gzip'"),
    ):
        origin.resolve()
    assert "accept-encoding: identity" in asked[0]
