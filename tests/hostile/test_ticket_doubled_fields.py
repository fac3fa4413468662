"""A query with a field twice, none, or thousands tries to be read differently by each reader."""

import pytest

from cache_protocol.errors import TicketError
from cache_protocol.tickets import check, sign

KEY = bytes(32)
PATH = "/files/g/m/a"
QUERY = sign(KEY, PATH, 1000)
EXPIRES, TICKET = QUERY.split("&")


@pytest.mark.parametrize(
    "query",
    [
        f"{QUERY}&expires=2000",
        f"expires=2000&{QUERY}",
        f"{QUERY}&{TICKET}",
        f"{QUERY}&ticket=x",
        f"{QUERY}&{QUERY}",
    ],
)
def test_a_field_that_stands_twice_is_refused(query: str):
    with pytest.raises(TicketError, match="more than one"):
        check(KEY, PATH, query, 0)


@pytest.mark.parametrize(
    "query", ["", "&", "=", EXPIRES, TICKET, f"{EXPIRES}&ticket=", "?" + QUERY]
)
def test_a_query_without_both_fields_is_refused(query: str):
    with pytest.raises(TicketError, match="no ticket"):
        check(KEY, PATH, query, 0)


def test_a_query_of_very_many_fields_is_refused_unread():
    with pytest.raises(TicketError):
        check(KEY, PATH, QUERY + "&a=b" * 100_000, 0)
