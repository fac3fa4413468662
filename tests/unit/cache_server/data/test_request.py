import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_server.data.request import MAX_HEAD, RefusedError, Request, parse_request


def parse(text: str) -> Request:
    data = text.replace("\n", "\r\n").encode("latin-1")
    parsed = parse_request(data)
    assert parsed is not None
    assert parsed[1] == len(data)
    return parsed[0]


def status_of(data: bytes) -> int:
    with pytest.raises(RefusedError) as caught:
        parse_request(data)
    return caught.value.status


def test_a_request_has_its_path_query_and_fields():
    request = parse("GET /files/a%20b?x=1&y=2 HTTP/1.1\nHost: h\nRANGE:  bytes=0-1 \n\n")
    assert (request.method, request.path, request.query) == ("GET", "/files/a%20b", "x=1&y=2")
    assert request.fields == {"host": "h", "range": "bytes=0-1"}


def test_an_absolute_target_is_taken_by_its_path():
    request = parse("GET http://cache:8081/files/x?t=1 HTTP/1.1\nHost: h\n\n")
    assert (request.path, request.query) == ("/files/x", "t=1")


def test_the_bytes_after_a_request_are_left_for_the_next():
    one = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
    assert parse_request(one + b"GET /b")[1] == len(one)


def test_empty_lines_before_a_request_are_skipped():
    assert parse("\n\nHEAD / HTTP/1.1\nHost: h\n\n").method == "HEAD"


def test_a_head_that_is_not_whole_asks_for_more():
    assert parse_request(b"GET / HTTP/1.1\r\nHost: h\r\n") is None


@pytest.mark.parametrize(
    ("version", "field", "keep_alive"),
    [
        ("1.1", "X: y", True),
        ("1.1", "Connection: close", False),
        ("1.1", "Connection: Upgrade, CLOSE", False),
        ("1.0", "X: y", False),
        ("1.0", "Connection: Keep-Alive", True),
    ],
)
def test_who_goes_on_after_the_answer(version, field, keep_alive):
    assert parse(f"GET / HTTP/{version}\nHost: h\n{field}\n\n").keep_alive is keep_alive


def test_a_repeated_field_is_joined_by_commas():
    assert parse("GET / HTTP/1.1\nHost: h\nA: 1\na: 2\n\n").fields["a"] == "1, 2"


def test_a_length_of_zero_is_no_body():
    assert parse("GET / HTTP/1.1\nHost: h\nContent-Length: 0\n\n").method == "GET"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),  # HTTP/0.9
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\n\r\n", 400),
        (b"GET / http/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET files/x HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET ftp://h/a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA b: c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),  # bare LF
        (b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400),  # bare CR
    ],
)
def test_what_is_not_a_request_gets_its_own_status(head, status):
    assert status_of(head) == status


def test_a_refused_method_names_the_allowed_ones():
    with pytest.raises(RefusedError) as caught:
        parse_request(b"PUT / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert caught.value.fields == {"Allow": "GET, HEAD"}


def outcome(pieces: list[bytes]) -> object:
    """Feed ``pieces`` as they come; return what the connection makes of them."""
    data = bytearray()
    for piece in pieces:
        data += piece
        try:
            parsed = parse_request(data)
        except RefusedError as refused:
            return str(refused)
        if parsed is not None:
            return parsed
    return None


# Bytes that look enough like a request to get deep into the parser.
likely = st.lists(
    st.sampled_from(
        [
            b"GET ",
            b"HEAD ",
            b"/",
            b"http://h/",
            b"?a=b",
            b" HTTP/1.1",
            b" HTTP/1.0",
            b"\r\n",
            b"\n",
            b"\r",
            b"Host: h",
            b"Range: bytes=0-",
            b"Content-Length: 5",
            b":",
            b" ",
            b"\x00",
            b"Transfer-Encoding: chunked",
            b"\xff",
            b"Connection: close",
            b"a" * 9000,
        ]
    ),
    max_size=24,
).map(b"".join)


@given(st.one_of(st.binary(max_size=300), likely), st.lists(st.integers(0, 2**15), max_size=8))
def test_any_bytes_split_anywhere_give_the_same_result(data, cuts):
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    assert outcome(pieces) == outcome([data])


@given(likely)
def test_no_more_than_the_bound_is_ever_needed(data):
    assert outcome([data.ljust(MAX_HEAD, b"x")]) is not None
