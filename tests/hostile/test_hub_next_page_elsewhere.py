"""A hub whose listing goes on at another host: inside our network, or at a collector of tokens."""

import pytest

from cache_protocol.errors import MalformedError
from tests.fakes.hub_peer import listed_by, rows
from tests.fakes.peer import peer, reply


def test_nobody_but_the_hub_is_asked_for_the_next_page():
    came = []

    def collects(head, sock):
        came.append(head)
        sock.sendall(reply(b"[]"))

    with peer(collects) as elsewhere:

        def tree(_head, sock):
            sock.sendall(reply(rows(1), Link=f'<{elsewhere}/tree/2>; rel="next"'))

        with (
            listed_by(tree, token="hf_planted") as origin,
            pytest.raises(MalformedError, match="another host"),
        ):
            origin.resolve()
    assert came == []
