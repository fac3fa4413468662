"""Spoiled request heads: to be read otherwise than by others, cut elsewhere, or break it."""

import h11
from hypothesis import given
from hypothesis import strategies as st

from cache_server.data.request import MAX_HEAD, RefusedError, Request, parse_request
from tests.hostile.mutations import hunt, in_few_words, spoiled

TARGET = f"/files/{'0' * 32}/m/a.safetensors?expires=1&key=k&tenant=t&ticket=x"
GOOD = f"GET {TARGET} HTTP/1.1\r\nHost: node:8081\r\nRange: bytes=0-8388607\r\n\r\n".encode()
NEXT = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"
LINES = [
    *(
        f"GET {TARGET} HTTP/1.1",
        "HEAD / HTTP/1.1",
        "GET / HTTP/1.0",
        "GET / HTTP/1.9",
        "get / HTTP/1.1",
    ),
    *("POST / HTTP/1.1", "GET * HTTP/1.1", "GET http://h/x HTTP/1.1", "GET //x HTTP/1.1", "GET /"),
    *(
        "GET  / HTTP/1.1",
        "GET / HTTP/2.0",
        "GET /\t HTTP/1.1",
        "GET /%00%0d%0a HTTP/1.1",
        "GET ?x HTTP/1.1",
    ),
    *(
        " GET / HTTP/1.1",
        "GET /#x HTTP/1.1",
        "GET /é HTTP/1.1",
        "CONNECT h:1 HTTP/1.1",
        "PRI * HTTP/2.0",
    ),
]
FIELDS = [
    *(
        "Host: h",
        "Host: other",
        "host:h",
        "Host:",
        "Host : h",
        "Range: bytes=0-1",
        "Range: bytes=-",
        "",
    ),
    *("Content-Length: 0", "Content-Length: 5", "Content-Length: 0, 0", "Content-Length: +0"),
    *(
        "Content-Length: 00",
        "Content-Length:",
        "Content-Length: 0\x0b",
        "Transfer-Encoding: chunked",
    ),
    *(
        "Transfer-Encoding: identity",
        "Transfer-Encoding:",
        "Connection: close",
        "Connection: keep-alive",
    ),
    *(
        "Connection: close, x",
        "Expect: 100-continue",
        "Upgrade: h2c",
        "X: y",
        ": x",
        "X",
        " X: folded",
    ),
    *(
        "X: \x00",
        "X: \x7f",
        "X: \xff",
        "X:\ty",
        "X: a\rb",
        "Trailer: Host",
        "If-Range: x",
        "X-\xe9: y",
    ),
]
ENDS = ["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n", "\r\n ", "\x00\r\n"]
PIECES = [
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b" ", b"\t", b":", b"\x00", b"\xff", b"\x0b"),
    *(
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Host: h\r\n",
        b"HTTP/1.1",
        NEXT,
    ),
    *(b"A" * 1000, b"X: " + b"y" * (MAX_HEAD - 200), b"X: y\r\n" * 3000, b"\r\n" * (MAX_HEAD // 2)),
]


def parsed(data: bytes) -> tuple[Request, int] | RefusedError | None:
    """Return what the reader says of ``data``; it may say nothing else."""
    try:
        return parse_request(data)
    except RefusedError as error:
        if not in_few_words(error):
            raise
        return error


def check(data: bytes, cut: int) -> None:
    """Whatever ``data`` is, and wherever it was cut on its way."""
    whole, part = parsed(data), parsed(data[: cut % (len(data) + 1)])
    if isinstance(part, RefusedError):
        assert isinstance(whole, RefusedError)  # what follows does not make it good
    elif part is not None:
        assert part == whole  # nor does it change what was read
    if isinstance(whole, RefusedError):
        assert whole.status in (400, 405, 414, 431, 501, 505)
    elif whole is not None:
        check_request(*whole, data)
    else:
        assert len(data) < MAX_HEAD


def check_request(request: Request, size: int, data: bytes) -> None:
    """What is taken ends where it says, and is the same for another strict reader."""
    assert size <= min(len(data), MAX_HEAD + 4)
    assert data[:size].endswith(b"\r\n\r\n")
    assert request.method in ("GET", "HEAD")
    assert request.path.startswith("/")
    assert (request.path + request.query).isascii()
    assert "transfer-encoding" not in request.fields
    assert request.fields.get("content-length", "0") == "0"
    theirs = as_h11_reads(data[:size].lstrip(b"\r\n"))
    assert theirs.method.decode() == request.method
    assert theirs.target.decode().partition("#")[0].endswith(request.path + _query(request))
    assert {name.decode() for name, _ in theirs.headers} == set(request.fields)


def _query(request: Request) -> str:
    return f"?{request.query}" if request.query else ""


def as_h11_reads(head: bytes) -> h11.Request:
    """Return the request that h11 finds, after which it must have seen the end of a message."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=2 * MAX_HEAD)
    reader.receive_data(head)
    request, end = reader.next_event(), reader.next_event()
    assert isinstance(request, h11.Request)
    assert isinstance(end, h11.EndOfMessage)
    return request


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Return a head made of lines that are right, doubtful or wrong, with a request behind it."""
    line = draw(st.sampled_from([LINES[0], *LINES]))
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=4))
    host = draw(st.sampled_from([["Host: h"], ["Host: h"], []]))
    text = "".join(each + draw(st.sampled_from(ENDS)) for each in [line, *host, *fields])
    return text.encode("latin-1") + draw(st.sampled_from([b"\r\n", b"\r\n", b"\n", b""])) + NEXT


def test_what_the_fuzzers_begin_with_is_good():
    check(GOOD + NEXT, len(GOOD))
    assert isinstance(parsed(GOOD + NEXT), tuple)


@hunt(500)
@given(heads(), st.integers(0))
def test_a_head_of_doubtful_lines_is_refused_or_read_as_others_read_it(data, cut):
    check(data, cut)


@hunt(500)
@given(spoiled(GOOD + NEXT, PIECES), st.integers(0))
def test_a_spoiled_head_is_refused_or_read_as_others_read_it(data, cut):
    check(data, cut)


@hunt(500)
@given(st.binary(max_size=300), st.integers(0))
def test_any_bytes_are_refused_or_waited_for(data, cut):
    check(data, cut)
