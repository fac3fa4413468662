from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import TicketError
from cache_protocol.routes import FILES, Resource, resource_path
from cache_protocol.tickets import KEY_SIZE, check, sign
from tests.unit.cache_protocol import legal

KEY = bytes(range(KEY_SIZE))
PATH = "/files/g/m/a.safetensors"
paths = st.builds(Resource, st.just(FILES), legal.generations, legal.models, legal.paths).map(
    resource_path
)


@given(st.binary(min_size=KEY_SIZE, max_size=KEY_SIZE), paths, st.integers(1, 10**12 - 1))
def test_what_is_signed_is_granted_until_it_expires(key: bytes, path: str, expires: int):
    query = sign(key, path, expires)
    check(key, path, query, expires - 1)
    with pytest.raises(TicketError, match="ran out 0 s ago"):
        check(key, path, query, expires)


@given(paths, st.integers(0, 10**12 - 1))
def test_a_ticket_can_stand_in_a_url_as_it_is(path: str, expires: int):
    fields = parse_qs(sign(KEY, path, expires), strict_parsing=True)
    assert fields["expires"] == [str(expires)]
    assert len(fields["ticket"][0]) == 43


def test_the_message_says_how_long_ago_a_ticket_ran_out():
    with pytest.raises(TicketError, match="ran out 30 s ago"):
        check(KEY, PATH, sign(KEY, PATH, 1000), 1030.2)


def test_other_fields_of_a_query_are_left_alone():
    check(KEY, PATH, f"download=1&{sign(KEY, PATH, 1000)}&x=", 999)
