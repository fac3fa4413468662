import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.ranges import (
    Span,
    UnsatisfiableRangeError,
    content_range,
    cut,
    parse_range,
    range_header,
)
from tests.unit.cache_protocol.legal import spans

UNSATISFIABLE = "416"


def what_rfc_9110_says(header: str, size: int) -> Span | str | None:  # noqa: PLR0911 - the RFC's cases
    """Answer for one int-range or suffix-range of 14.1.2; None means the whole file."""
    unit, equals, ranges = header.partition("=")
    if unit.lower() != "bytes" or not equals:
        return None
    first, dash, last = ranges.partition("-")
    if not dash or not re.fullmatch("[0-9]*", first) or not re.fullmatch("[0-9]*", last):
        return None
    if first == "":
        if last == "":
            return None
        if int(last) == 0:  # "a suffix-range with a non-zero suffix-length" is satisfiable
            return UNSATISFIABLE
        # "the entire representation is used" when it is shorter; an empty one fits no 206
        return Span(size - min(int(last), size), size) if size else None
    if last != "" and int(last) < int(first):  # "invalid": ignored
        return None
    if int(first) >= size:  # "a first-pos that is less than the current length" is satisfiable
        return UNSATISFIABLE
    return Span(int(first), size if last == "" else min(int(last) + 1, size))


def parsed(header: str | None, size: int) -> Span | str | None:
    try:
        return parse_range(header, size)
    except UnsatisfiableRangeError:
        return UNSATISFIABLE


numbers = st.one_of(st.just(""), st.integers(0, 30).map(str), st.integers(0, 2**64 - 1).map(str))
plausible = st.builds(
    "{}={}-{}".format, st.sampled_from(["bytes", "Bytes", "rows"]), numbers, numbers
)
anything = st.text("bytes=-0123456789, ٣²", max_size=24)


@given(plausible | anything, st.integers(0, 40))
def test_every_header_gets_what_rfc_9110_says(header: str, size: int):
    assert parsed(header, size) == what_rfc_9110_says(header.strip(" \t"), size)


@given(spans(limit=2**44), st.integers(0, 2**44))
def test_the_header_made_for_a_span_asks_for_that_span(span: Span, more: int):
    if span.size:
        assert parse_range(range_header(span), span.end + more) == span


def test_no_header_asks_for_the_whole_file():
    assert parse_range(None, 10) is None
    assert parse_range("", 10) is None


@pytest.mark.parametrize("header", ["bytes=0-1,4-5", "bytes=0-1,", "bytes=--1", "bytes=0x1-2"])
def test_several_ranges_and_nonsense_are_answered_with_the_whole_file(header: str):
    assert parse_range(header, 10) is None


def test_digits_of_other_scripts_are_no_range():
    assert parse_range("bytes=\N{ARABIC-INDIC DIGIT ZERO}-\N{ARABIC-INDIC DIGIT THREE}", 10) is None


def test_the_end_of_a_range_can_be_the_largest_64_bit_number():
    assert parse_range(f"bytes=5-{2**64 - 1}", 10) == Span(5, 10)


def test_a_hostile_number_of_digits_is_ignored_and_not_computed():
    assert parse_range("bytes=0-" + "9" * 100_000, 10) is None


def test_the_last_bytes_of_an_empty_file_are_the_whole_file():
    assert parse_range("bytes=-5", 0) is None


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-0"])
def test_an_empty_file_has_no_first_byte(header: str):
    with pytest.raises(UnsatisfiableRangeError, match="nothing of 0 bytes"):
        parse_range(header, 0)


def test_content_range_counts_its_last_byte():
    assert content_range(Span(0, 5), 10) == "bytes 0-4/10"


@given(spans(limit=1000), st.integers(1, 300))
def test_cut_tiles_the_span_exactly_with_full_pieces_but_the_last(span: Span, size: int):
    pieces = list(cut(span, size))

    edges = [span.begin, *(p.end for p in pieces)]
    assert [p.begin for p in pieces] == edges[:-1]
    assert edges[-1] == span.end
    assert all(p.size == size for p in pieces[:-1])
    assert all(0 < p.size <= size for p in pieces[-1:])
