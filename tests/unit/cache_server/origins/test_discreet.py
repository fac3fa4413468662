from contextlib import contextmanager

import pytest

from cache_protocol.errors import CapacityError, OriginDeniedError, OriginUnavailableError
from cache_protocol.ranges import Span
from cache_server.core.content import OriginFile
from cache_server.origins.discreet import DiscreetOrigin

TOKEN = "hf_planted_0123456789"
FILE = OriginFile("w", 1, "tag")


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def resolve(self):
        raise self.error

    def check_access(self):
        raise self.error

    @contextmanager
    def open(self, *_):
        yield self

    def readinto(self, _into):
        raise self.error

    def close(self):
        pass


def raised_by(error: Exception) -> BaseException:
    with pytest.raises(type(error)) as caught:
        DiscreetOrigin(Failing(error), frozenset({TOKEN})).resolve()
    return caught.value


def test_an_error_leaves_without_the_secret_and_as_it_is_otherwise():
    error = OriginUnavailableError(f"the hub said {TOKEN}", retry_after=7.0)
    shown = raised_by(error)
    assert str(shown) == "the hub said [secret]"
    assert shown.retry_after == 7.0


def test_a_check_of_access_tells_no_secret_either():
    with pytest.raises(OriginDeniedError) as caught:
        DiscreetOrigin(
            Failing(OriginDeniedError(f"said {TOKEN}")), frozenset({TOKEN})
        ).check_access()
    assert str(caught.value) == "said [secret]"


def test_what_led_to_an_error_with_a_secret_is_not_told_on():
    error = OriginDeniedError(f"said {TOKEN}")
    error.__cause__ = ValueError(f"said {TOKEN}")
    shown = raised_by(error)
    assert shown.__cause__ is None
    assert shown.__suppress_context__


def test_an_error_of_a_stream_leaves_without_the_secret_too():
    origin = DiscreetOrigin(Failing(OriginDeniedError(f"said {TOKEN}")), frozenset({TOKEN}))
    with (
        pytest.raises(OriginDeniedError, match=r"said \[secret\]"),
        origin.open("r", FILE, Span(0, 1)) as stream,
    ):
        stream.readinto(memoryview(bytearray(1)))


def test_an_error_that_nobody_foresaw_is_told_as_the_origins_when_it_holds_a_secret():
    foreign = ValueError("illegal header")
    foreign.__cause__ = KeyError(f"Bearer {TOKEN}")
    with pytest.raises(OriginUnavailableError, match="is not understood: ValueError") as caught:
        DiscreetOrigin(Failing(foreign), frozenset({TOKEN})).resolve()
    assert TOKEN not in str(caught.value)


def test_errors_without_a_secret_are_left_alone():
    error = CapacityError("full", needed=1)
    error.__cause__ = OSError("disk")
    assert raised_by(error).__cause__ is error.__cause__
    bug = ValueError("a bug")
    assert raised_by(bug) is bug
