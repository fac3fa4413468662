"""A query with a field twice, none, or thousands tries to be read differently by each reader."""

import pytest

from cache_protocol.errors import TicketError
from cache_protocol.tickets import Key, Keys, check, sign

KEYS = Keys("node", (Key("k1", bytes(32)),))
PATH = "/files/g/m/a"
QUERY = sign(KEYS, "default", PATH, 1000)
EXPIRES, NAME, TENANT, TICKET = QUERY.split("&")


@pytest.mark.parametrize(
    "query",
    [
        f"{QUERY}&expires=2000",
        f"expires=2000&{QUERY}",
        f"{QUERY}&{TICKET}",
        f"{QUERY}&ticket=x",
        f"{QUERY}&{QUERY}",
        f"{QUERY}&{NAME}",
        f"tenant=other&{QUERY}",
    ],
)
def test_a_field_that_stands_twice_is_refused(query: str):
    with pytest.raises(TicketError, match="more than one"):
        check(KEYS, PATH, query, 0)


@pytest.mark.parametrize(
    "query",
    ["", "&", "=", EXPIRES, TICKET, f"{EXPIRES}&ticket=", "?" + QUERY]
    + [QUERY.replace(field, "") for field in (EXPIRES, NAME, TENANT, TICKET)],
)
def test_a_query_without_all_fields_is_refused(query: str):
    with pytest.raises(TicketError, match="no ticket"):
        check(KEYS, PATH, query, 0)


def test_a_query_of_very_many_fields_is_refused_unread():
    with pytest.raises(TicketError):
        check(KEYS, PATH, QUERY + "&a=b" * 100_000, 0)
