"""Tickets of another file, kind or node, run out, changed or repeated, to read without a right."""

import pytest

from cache_protocol import tickets
from tests.fakes.data_node import data_node
from tests.fakes.reader import KEYS, target


@pytest.fixture
def status(tmp_path):
    with data_node(tmp_path, clock=lambda: 1000.0) as node, node.connect() as reader:
        node.shelf.add("a", b"weights")
        node.shelf.add("b", b"others")
        assert reader.get(target("a", expires=1001)).status == 200
        yield lambda url: reader.get(url).status


def test_a_ticket_of_another_file_opens_nothing(status):
    path, query = target("a", expires=1001).split("?")
    assert status(f"{path[:-1]}b?{query}") == 403


def test_a_ticket_of_the_file_does_not_open_another_kind(status):
    assert status(target("a", expires=1001).replace("/files/", "/digests/")) == 403


def test_a_ticket_that_has_run_out_opens_nothing(status):
    assert status(target("a", expires=1000)) == 403


def test_a_later_expiry_with_an_old_ticket_opens_nothing(status):
    assert status(target("a", expires=999).replace("expires=999", "expires=9999")) == 403


@pytest.mark.parametrize(("node", "key"), [("node", "k1"), ("node", "k2"), ("other", "k1")])
def test_a_ticket_of_another_key_opens_nothing(status, node, key):
    path = target("a").split("?")[0]
    others = tickets.Keys(node, (tickets.Key(key, b"x" * 32),))
    assert status(f"{path}?{tickets.sign(others, 'default', path, 1001)}") == 403


def test_a_ticket_of_another_node_with_the_same_key_opens_nothing(status):
    path = target("a").split("?")[0]
    copied = tickets.Keys("other", KEYS.keys)
    assert status(f"{path}?{tickets.sign(copied, 'default', path, 1001)}") == 403


def test_a_ticket_does_not_change_its_tenant(status):
    path, query = target("a", expires=1001).split("?")
    assert status(f"{path}?{query.replace('tenant=default', 'tenant=other')}") == 403


def test_another_spelling_of_the_same_name_needs_its_own_ticket(status):
    path, query = target("a", expires=1001).split("?")
    assert status(f"{path[:-1]}%61?{query}") == 403


@pytest.mark.parametrize(
    "query",
    [
        "",
        "expires=1001",
        "ticket=x",
        "expires=&ticket=",
        "expires=-1&ticket=x",
        "a=b&" * 40,
        "expires=%D9%A1%D9%A2&ticket=x",
        "expires=99999999999999999999&ticket=x",
        "expires=1001&ticket=%ff%00",
        "expires=1e3&ticket=x",
    ],
)
def test_a_query_that_is_no_ticket_opens_nothing(status, query):
    assert status(f"{target('a').split('?')[0]}?{query}") == 403


def test_names_cannot_be_probed_without_a_ticket(status):
    assert status("/files/g/m/nothing") == status("/nowhere") == 403


def test_a_ticket_that_stands_twice_opens_nothing(status):
    path, query = target("b", expires=1001).split("?")
    assert status(f"{path}?ticket=x&{query}") == 403
    assert status(f"{path}?{query}&ticket=x") == 403
