"""A holder of one ticket tries to stretch it: to another path, a later end, another key's node."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import TicketError
from cache_protocol.tickets import Key, Keys, check, sign

KEYS = Keys("node", (Key("k1", bytes(32)),))
OTHER = Keys("node", (Key("k1", bytes(31) + b"\1"),))
PATH = "/files/g/m/a.safetensors"
QUERY = sign(KEYS, "default", PATH, 1000)


@pytest.mark.parametrize(
    "path",
    [
        "/files/g/m/b.safetensors",
        "/digests/g/m/a.safetensors",
        "/verdicts/g/m/a.safetensors",
        "/files/h/m/a.safetensors",
        "/files/g/m/a.safetensor",
        "/files/g/m/a.safetensors/",
        "/files/g/m/../m/a.safetensors",
        "/files/g/m/%61.safetensors",
        "/FILES/g/m/a.safetensors",
        "",
        "/files/g/m/\udcff",
    ],
)
def test_a_ticket_opens_no_other_path(path: str):
    with pytest.raises(TicketError, match="does not belong"):
        check(KEYS, path, QUERY, 0)


@pytest.mark.parametrize("expires", ["1001", "999", "10000", "2000", "0", "999999999999"])
def test_a_ticket_has_no_other_end(expires: str):
    with pytest.raises(TicketError, match="does not belong"):
        check(KEYS, PATH, QUERY.replace("1000", expires), 0)


def test_a_ticket_of_another_key_opens_nothing():
    with pytest.raises(TicketError, match="does not belong"):
        check(OTHER, PATH, QUERY, 0)


def test_a_ticket_of_a_key_that_was_given_up_opens_nothing():
    given_up = Keys("node", (Key("k2", bytes(32)),))
    with pytest.raises(TicketError, match="given up"):
        check(given_up, PATH, QUERY, 0)


def test_a_ticket_of_another_node_with_the_same_keys_opens_nothing():
    copied = Keys("other", KEYS.keys)
    with pytest.raises(TicketError, match="does not belong"):
        check(copied, PATH, QUERY, 0)


@pytest.mark.parametrize("tenant", ["other", "defaul", "default0"])
def test_a_ticket_has_no_other_tenant(tenant: str):
    with pytest.raises(TicketError, match="does not belong"):
        check(KEYS, PATH, QUERY.replace("default", tenant), 0)


@pytest.mark.parametrize("tenant", ["a%0A5", "a\nb", "A", "*", "..", "%00", "x" * 101])
def test_a_tenant_that_is_no_name_is_refused(tenant: str):
    with pytest.raises(TicketError, match="not a name"):
        check(KEYS, PATH, QUERY.replace("default", tenant), 0)


def test_a_forged_ticket_learns_nothing_of_its_expiry():
    with pytest.raises(TicketError, match="does not belong"):
        check(OTHER, PATH, QUERY, 5000)


def test_a_line_break_cannot_move_from_the_path_into_the_expiry():
    query = sign(KEYS, "default", "1\n/a", 1)
    with pytest.raises(TicketError):
        check(KEYS, "/a", query, 0)


@given(st.integers(0, len(QUERY) - 1), st.characters(codec="ascii"))
def test_no_other_character_anywhere_makes_a_ticket(at: int, character: str):
    tampered = QUERY[:at] + character + QUERY[at + 1 :]
    if tampered == QUERY:
        return
    with pytest.raises(TicketError):
        check(KEYS, PATH, tampered, 0)


@given(st.integers(0, len(QUERY) - 1))
def test_no_beginning_of_a_ticket_is_a_ticket(length: int):
    with pytest.raises(TicketError):
        check(KEYS, PATH, QUERY[:length], 0)


@given(st.text(st.characters(), max_size=80))
def test_any_text_for_a_query_or_path_ends_in_a_refusal(text: str):
    for path, query in ((PATH, text), (text, QUERY), (text, text)):
        if (path, query) != (PATH, QUERY):
            with pytest.raises(TicketError):
                check(KEYS, path, query, 0)
