"""An S3 service that redirects into the node's network, or whose name has an address there."""

import pytest
from botocore.awsrequest import AWSRequest

from cache_protocol.errors import MalformedError, OriginError
from cache_server.core.reach import parse_reach
from cache_server.origins.s3_session import JudgedSession
from tests.fakes.bucket_peer import bucket, page
from tests.fakes.peer import peer, reply


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
def test_a_redirect_is_not_followed(status):
    came = []

    def inside(head, sock):
        came.append(head)
        sock.sendall(reply(page("llm/w")))

    with peer(inside) as url:

        def listing(_head, sock):
            sock.sendall(reply(b"", status, Location=f"{url}/bucket?list-type=2"))

        with bucket(listing) as origin, pytest.raises(OriginError):
            origin.resolve()
    assert came == []


def send(session: JudgedSession, url: str) -> None:
    try:
        session.send(AWSRequest("GET", url).prepare())
    finally:
        session.close()


def test_an_address_inside_is_not_connected_to():
    came = []
    with (
        peer(lambda head, _sock: came.append(head)) as url,
        pytest.raises(MalformedError, match="CACHE_SERVER_PRIVATE_ORIGINS"),
    ):
        send(JudgedSession(parse_reach(""), {}), url)
    assert came == []


def test_behind_a_proxy_an_address_is_judged_here():
    session = JudgedSession(parse_reach(""), {"http": "http://127.0.0.1:1"})
    with pytest.raises(MalformedError, match="private address"):
        send(session, "http://169.254.169.254/latest/meta-data")
