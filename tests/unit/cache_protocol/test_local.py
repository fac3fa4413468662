import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import BusyError, CacheError, GenerationGoneError, MalformedError
from cache_protocol.local import (
    HELLO,
    MAX_LINE,
    Offer,
    Question,
    ask,
    check_hello,
    encode,
    host_name,
    lent,
    parse_answer,
    parse_offer,
    parse_question,
    refused,
)

HOST = host_name("5ba0a1f0-0000-4000-8000-000000000001\n")


def test_one_kernel_has_one_name_and_another_has_another():
    assert host_name("5ba0a1f0-0000-4000-8000-000000000001") == HOST
    assert host_name("5ba0a1f0-0000-4000-8000-000000000002") != HOST


def test_the_name_of_a_host_does_not_show_its_boot_id():
    assert len(HOST) == 32
    assert "5ba0a1f0" not in HOST


def test_a_question_comes_through_as_it_was_asked():
    question = Question("/files/0/m/w%20x.dat?expires=1&ticket=abc", "a-lease")
    assert parse_question(ask(question)) == question


def test_an_answer_comes_through_with_and_without_a_file():
    assert parse_answer(lent(7)) == 7
    assert parse_answer(lent(0)) == 0
    assert parse_answer(lent(None)) is None


def test_a_refusal_keeps_its_kind_and_is_short():
    with pytest.raises(GenerationGoneError, match="it went"):
        parse_answer(refused(GenerationGoneError("it went")))
    assert len(refused(BusyError("x" * 10**6))) < MAX_LINE


def test_a_node_may_say_no_instead_of_hello():
    check_hello(encode(HELLO))
    with pytest.raises(BusyError, match="too many"):
        check_hello(refused(BusyError("too many")))


@pytest.mark.parametrize(
    "line",
    [b"", b"\xff\n", b"[]\n", b"3\n", b"{}\n", b'{"warmline":"local","version":2}\n', b"[" * 9999],
)
def test_whoever_begins_in_another_way_is_no_node(line):
    with pytest.raises(MalformedError):
        check_hello(line)


@pytest.mark.parametrize("size", [True, -1, 1.5, "7", [7], {}])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(MalformedError):
        parse_answer(json.dumps({"size": size}).encode())


@pytest.mark.parametrize(
    "offer",
    [
        None,
        [],
        "x",
        {},
        {"socket": "/s"},
        {"socket": "relative", "host": HOST},
        {"socket": "/s\n", "host": HOST},
        {"socket": "/" + "s" * 5000, "host": HOST},
        {"socket": 3, "host": HOST},
        {"socket": "/s", "host": "short"},
        {"socket": "/s", "host": 3},
    ],
)
def test_an_offer_of_another_form_is_refused(offer):
    with pytest.raises(MalformedError):
        parse_offer(offer)


def test_an_offer_comes_through():
    offer = Offer("/srv/cache/local.sock", HOST)
    assert parse_offer(json.loads(json.dumps(offer._asdict()))) == offer


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_line_makes_a_parser_fail_in_another_way(line):
    for parse in (parse_question, parse_answer, check_hello):
        try:
            parse(line)
        except CacheError:
            continue
