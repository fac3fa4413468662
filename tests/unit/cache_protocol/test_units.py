from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import MalformedError
from cache_protocol.units import MAX_DURATION, parse_duration, parse_size, show_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1024", 1024),
        ("8MiB", 8 * 2**20),
        ("500GB", 500 * 10**9),
        ("500 GB", 500 * 10**9),
        ("3.5TiB", 7 * 2**39),
        ("1k", 1000),
        ("1KiB", 1024),
        (" 2 EiB ", 2**61),
        ("0.5", 0),
    ],
)
def test_a_size_is_a_number_and_a_unit(text: str, size: int):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "-1", "1.5.5", "1e9", "1 XB", "1iB", "1,5GB", "٣GB", "inf", "nan", "9" * 400]
)
def test_what_is_not_a_size_is_refused_with_a_hint(text: str):
    with pytest.raises(MalformedError, match="write '500GB'"):
        parse_size(text)


@given(st.integers(0, 10**18 - 1))
def test_plain_bytes_are_exact_however_many(size: int):
    assert parse_size(str(size)) == size


@given(st.integers(0, 10**6), st.sampled_from("KMGTPE"))
def test_the_letter_i_makes_a_unit_a_power_of_1024(number: int, letter: str):
    power = 1 + "KMGTPE".index(letter)
    assert parse_size(f"{number}{letter}iB") == number * 1024**power
    assert parse_size(f"{number}{letter}B") == number * 1000**power


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("PT48H", timedelta(hours=48)),
        ("P2D", timedelta(days=2)),
        ("PT0S", timedelta()),
        ("P1DT2H3M4.5S", timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
        ("P36525D", MAX_DURATION),
    ],
)
def test_a_duration_is_read_as_iso_8601_says(text: str, span: timedelta):
    assert parse_duration(text) == span


@pytest.mark.parametrize("text", ["", "P", "PT", "P1DT", "48h", "P1Y", "P-1D", "PT1.5H", "P٣D"])
def test_what_is_not_a_duration_is_refused_with_a_hint(text: str):
    with pytest.raises(MalformedError, match="write 'PT48H'"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["P36525DT1S", "P999999999D", "P999999999DT24H", "PT999999999H"])
def test_a_duration_above_a_century_is_refused(text: str):
    with pytest.raises(MalformedError, match="above 36525 days"):
        parse_duration(text)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_every_accepted_duration_can_be_taken_from_the_present(d: int, h: int, m: int, s: int):
    try:
        span = parse_duration(f"P{d}DT{h}H{m}M{s}S")
    except MalformedError:
        return
    assert datetime(2026, 11, 20, tzinfo=UTC) - span


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (90868376, "90.9 MB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_sizes_are_shown_in_powers_of_1000(size: int, text: str):
    assert show_size(size) == text


@given(st.integers(0, 10**18))
def test_a_shown_size_is_near_the_size(size: int):
    assert parse_size(show_size(size)) == pytest.approx(size, rel=0.051, abs=0.5)
