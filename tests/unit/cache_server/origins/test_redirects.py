import pytest

from cache_protocol.errors import MalformedError
from cache_server.origins.connections import _bypasses
from cache_server.origins.redirects import next_url, place, same_origin


def test_tls_is_not_left_behind():
    with pytest.raises(MalformedError, match="https to http"):
        next_url("https://hub/x", "http://cdn/x")


def test_plain_http_may_lead_to_tls():
    assert next_url("http://hub/x", "https://cdn/x?a=b") == "https://cdn/x?a=b"


@pytest.mark.parametrize("other", ["http://hub/x", "https://hub:444/x", "https://hub.evil/x"])
def test_another_scheme_port_or_host_is_another_origin(other: str):
    assert not same_origin("https://hub/x", other)


def test_the_default_port_may_be_written():
    assert same_origin("https://hub/x", "https://HUB:443/y")


def test_a_place_has_neither_query_nor_user():
    assert place("https://me:s3cret@cdn:1/a/b?Signature=s3cret") == "https://cdn:1/a/b"


@pytest.mark.parametrize(
    ("host", "no_proxy", "bypasses"),
    [
        ("hub", "hub", True),
        ("a.hub", "hub", True),
        ("a.hub", ".hub", True),
        ("ahub", "hub", False),
        ("hub", "", False),
        ("hub", "x, *", True),
    ],
)
def test_no_proxy_names_hosts_and_domains(host: str, no_proxy: str, *, bypasses: bool):
    assert _bypasses(host, no_proxy) is bypasses
