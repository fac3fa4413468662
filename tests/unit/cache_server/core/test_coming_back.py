"""When a client is asked to come back."""

import math

import pytest

from cache_protocol.errors import BusyError, OriginUnavailableError
from cache_server.core.coming_back import LONGEST, wish_of


@pytest.mark.parametrize(
    ("wish", "told"),
    [(7.0, 7), (1.2, 2), (0.0, 1), (-5.0, 1), (2_592_000.0, LONGEST), (math.inf, LONGEST)],
)
def test_an_origins_wish_is_passed_on_within_bounds(wish, told):
    assert wish_of(OriginUnavailableError("429", retry_after=wish)) == told


@pytest.mark.parametrize(
    "error", [OriginUnavailableError("503"), BusyError("all places are taken")]
)
def test_where_no_origin_has_a_wish_there_is_none(error):
    assert wish_of(error) is None
