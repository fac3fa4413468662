"""A hub whose digests are something else, to have it in our headers or in names of files."""

import json

import pytest

from cache_protocol.errors import OriginUnavailableError
from tests.fakes.hub_peer import listed_by
from tests.fakes.peer import reply


@pytest.mark.parametrize(
    ("digest", "weights"),
    [("../../x", True), ("a" * 40, True), ("a\r\nX-Evil: 1", True), (7, True), ('"', False)],
)
def test_a_digest_that_is_none_is_no_answer(digest, weights):
    row = {"type": "file", "path": "config.json", "size": 2, "oid": "a" * 40}
    lfs = {"lfs": {"oid": digest, "size": 2, "pointerSize": 1}}
    row |= lfs if weights else {"oid": digest}

    def tree(_head, sock):
        sock.sendall(reply(json.dumps([row]).encode()))

    with listed_by(tree) as origin, pytest.raises(OriginUnavailableError, match="not the form"):
        origin.resolve()
