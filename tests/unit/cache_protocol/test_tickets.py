from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import TicketError
from cache_protocol.routes import FILES, Resource, resource_path
from cache_protocol.tickets import KEY_SIZE, Key, Keys, Ticket, check, sign
from tests.unit.cache_protocol import legal

KEYS = Keys("node", (Key("k1", bytes(range(KEY_SIZE))),))
PATH = "/files/g/m/a.safetensors"
paths = st.builds(Resource, st.just(FILES), legal.generations, legal.models, legal.paths).map(
    resource_path
)


@given(st.binary(min_size=KEY_SIZE, max_size=KEY_SIZE), paths, st.integers(1, 10**12 - 1))
def test_what_is_signed_is_granted_until_it_expires(secret: bytes, path: str, expires: int):
    keys = Keys("node", (Key("k1", secret),))
    query = sign(keys, "default", path, expires)
    assert check(keys, path, query, expires - 1) == Ticket("default", expires)
    with pytest.raises(TicketError, match="ran out 0 s ago"):
        check(keys, path, query, expires)


def test_the_first_key_signs_and_all_are_accepted():
    old = sign(KEYS, "default", PATH, 1000)
    both = Keys("node", (Key("k2", b"2" * KEY_SIZE), *KEYS.keys))
    new = sign(both, "default", PATH, 1000)
    assert "key=k2" in new
    assert check(both, PATH, old, 0) == check(both, PATH, new, 0)


@given(paths, st.integers(0, 10**12 - 1))
def test_a_ticket_can_stand_in_a_url_as_it_is(path: str, expires: int):
    fields = parse_qs(sign(KEYS, "default", path, expires), strict_parsing=True)
    assert fields["expires"] == [str(expires)]
    assert len(fields["ticket"][0]) == 43


def test_the_message_says_how_long_ago_a_ticket_ran_out():
    with pytest.raises(TicketError, match="ran out 30 s ago"):
        check(KEYS, PATH, sign(KEYS, "default", PATH, 1000), 1030.2)


def test_other_fields_of_a_query_are_left_alone():
    check(KEYS, PATH, f"download=1&{sign(KEYS, 'default', PATH, 1000)}&x=", 999)
