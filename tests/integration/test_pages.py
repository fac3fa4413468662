"""The pages of the real program, over TLS: what a browser is given before and after it signs in."""

from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from benchmarks.node import Node, running_node
from tests.fakes.certificates import Authority

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PAGE = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def authority(module_scratch: Path) -> Authority:
    return Authority(module_scratch / "authority")


@pytest.fixture(scope="module")
def node(module_scratch: Path, authority: Authority) -> Iterator[Node]:
    pair = authority.issue("localhost")
    env = {"CACHE_SERVER_TLS_CERT": str(pair.cert), "CACHE_SERVER_TLS_KEY": str(pair.key)}
    with running_node(module_scratch / "node", env=env) as node:
        yield node


def test_somebody_signs_in_over_tls_and_sees_the_pages(node: Node, authority: Authority) -> None:
    with closing(connection(node, authority)) as browser:
        sent_on = asked(browser, "GET", "/", headers=PAGE)
        assert (sent_on.status, sent_on.headers["location"]) == (303, "/sign-in?to=%2F")
        given = asked(browser, "POST", "/sign-in", urlencode({"token": node.token}), FORM)
        cookie = given.headers["set-cookie"]
        assert given.status == 303
        assert {"HttpOnly", "SameSite=strict", "Secure"} <= set(cookie.split("; "))
        session = {"Cookie": cookie.partition(";")[0]}
        for path in ("/", "/node"):
            assert asked(browser, "GET", path, headers=PAGE | session).status == 200
        assert asked(browser, "GET", "/v1/status", headers=session).status == 200


def connection(node: Node, authority: Authority) -> HTTPSConnection:
    port = urlsplit(node.control).port
    return HTTPSConnection("localhost", port, timeout=30, context=authority.client())


def asked(
    browser: HTTPSConnection,
    method: str,
    path: str,
    body: str | None = None,
    headers: dict[str, str] | None = None,
) -> HTTPResponse:
    browser.request(method, path, body, headers or {})
    answer = browser.getresponse()
    answer.read()
    return answer
