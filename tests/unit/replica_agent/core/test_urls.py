import pytest

from cache_protocol.errors import MalformedError
from replica_agent.core.urls import Endpoint, parse_url


def test_a_url_is_taken_apart():
    target = parse_url("http://node-1:8081/files/a%20b?expires=1&ticket=x")
    assert target == (("node-1", 8081, False), "/files/a%20b?expires=1&ticket=x")


def test_the_port_defaults_to_that_of_the_scheme_and_the_path_to_a_slash():
    assert parse_url("http://node") == (("node", 80, False), "/")
    assert parse_url("https://node") == (("node", 443, True), "/")


@pytest.mark.parametrize("host", ["cache", "c-1.my_region.example.", "a" * 63, "10.0.0.1"])
def test_a_name_is_taken_as_it_stands(host):
    assert parse_url(f"http://{host}:8081/").endpoint.host == host


def test_an_ipv6_address_has_brackets_in_the_header_only():
    endpoint = parse_url("http://[::1]:8081/").endpoint
    assert (endpoint.host, str(endpoint)) == ("::1", "[::1]:8081")
    assert str(Endpoint("node", 80)) == "node:80"


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://node/x",
        "httpss://node/x",
        "https:///x",
        "https://node/x\r\nX-Evil: 1",
        "ftp://node/x",
        "file:///etc/passwd",
        "//node/x",
        "http:///x",
        "http://user:password@node/x",
        "http://node:0/x",
        "http://node:65536/x",
        "http://node:8081/x\r\nX-Evil: 1",
        "http://node:8081/x y",
        "http://node:8081/x\n",
        "http://no\r\nde/x",
        "http://node/\u00e9",
        "http://node/x#fragment",
        "http://a..b/x",
        "http://.a/x",
        "http://./x",
        f"http://{'a' * 64}.b/x",
        f"http://{'a' * 64}",
        f"http://{'a.' * 127}/x",
        "",
    ],
)
def test_what_is_no_url_of_a_node_is_refused(url):
    with pytest.raises(MalformedError):
        parse_url(url)


def test_a_refusal_does_not_show_the_ticket():
    with pytest.raises(MalformedError) as caught:
        parse_url("ftp://node/x?ticket=SECRET")
    assert "SECRET" not in str(caught.value)
