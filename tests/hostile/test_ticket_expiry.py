"""Expiries that are no plain number try to be read as one, or to cost time."""

import pytest

from cache_protocol.errors import TicketError
from cache_protocol.tickets import Key, Keys, check, sign

KEYS = Keys("node", (Key("k1", bytes(32)),))
PATH = "/files/g/m/a"


@pytest.mark.parametrize("late", [0, 0.001, 1, 10**9])
def test_a_ticket_that_ran_out_is_refused(late: float):
    with pytest.raises(TicketError, match="ran out"):
        check(KEYS, PATH, sign(KEYS, "default", PATH, 1000), 1000 + late)


@pytest.mark.parametrize(
    "expires",
    [
        "",
        "-1",
        "+1000",
        " 1000",
        "1e3",
        "1_000",
        "0x3e8",
        "1000.0",
        "\N{ARABIC-INDIC DIGIT ONE}000",
        "\N{FULLWIDTH DIGIT ONE}000",
        "²",
        "9" * 13,
        "9" * 10**5,
    ],
    ids=lambda text: ascii(text[:14]),
)
def test_an_expiry_that_is_no_short_ascii_number_is_refused(expires: str):
    ticket = sign(KEYS, "default", PATH, 1000).partition("&")[2]
    with pytest.raises(TicketError):
        check(KEYS, PATH, f"expires={expires}&{ticket}", 0)


def test_a_huge_expiry_that_nobody_signed_is_refused():
    ticket = sign(KEYS, "default", PATH, 1000).partition("&")[2]
    with pytest.raises(TicketError, match="does not belong"):
        check(KEYS, PATH, f"expires=999999999999&{ticket}", 0)
