"""Spoiled requests of S3: whatever comes, one answer goes, in S3's words, with nothing leaked."""

from urllib.parse import urlencode
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from cache_server.core.attempts import FailedAttempts
from cache_server.doors.s3.credentials import Credentials
from cache_server.doors.s3.query import parse_query
from cache_server.doors.s3.refusals import Code
from cache_server.doors.s3.request import S3Request
from cache_server.doors.s3.target import parse_target
from tests.fakes.s3_door import Door, content
from tests.hostile.mutations import hunt, spoiled

DOOR = Door()
# Guesses without end are what this is about, not how they are slowed down.
DOOR.door._credentials = Credentials(DOOR.keys, FailedAttempts(limit=10**9))
OPEN = Door(auth=False)
PIECES = [
    *(b"&", b"=", b"%", b"%00", b"%0A", b"%2F", b"/", b"..", b"+", b";", b",", b" ", b"\xff", b"'"),
    *(
        b"X-Amz-Signature=",
        b"X-Amz-Expires=1",
        b"host",
        b"Credential=",
        b"aws4_request",
        b"<",
        b"\n",
    ),
    *(b"list-type=2", b"partNumber=", b"max-keys=", b"uploads", b"bytes=", b"-", b"\xe2\x80\xae"),
]
TARGETS = [
    "",
    "/voice",
    "/voice?list-type=2&prefix=m%2F&delimiter=%2F&max-keys=1&encoding-type=url",
    "/voice/m/config.json",
    "/voice/m/config.json?partNumber=1",
    "/none/m/config.json",
]
WORDS = {code.word for code in Code}
STATUSES = {200, 206, 304} | {code.status for code in Code}


def answered(door: Door, request: S3Request) -> int:
    """Ask; return the status of what is a lawful answer."""
    reply = door.answer(request)
    assert reply.status in STATUSES
    assert all(value.isprintable() and value.isascii() for value in reply.fields.values())
    body = content(reply)
    assert b"secret" not in body
    if reply.status >= 400 and request.method != "HEAD":
        root = ET.fromstring(body)  # noqa: S314 - our own
        assert root.findtext("Code") in WORDS
        assert root.findtext("Code") != Code.INTERNAL_ERROR.word, body
    assert len(body) == int(reply.fields.get("Content-Length", "0")) or request.method == "HEAD"
    return reply.status


@st.composite
def near_requests(draw: st.DrawFn) -> tuple[S3Request, S3Request]:
    """Return a signed request, and the same a little spoiled."""
    target = draw(st.sampled_from(TARGETS))
    make = draw(st.sampled_from([DOOR.signed, DOOR.presigned]))
    good = make(target, draw(st.sampled_from(["GET", "HEAD"])))
    name = draw(st.sampled_from(["path", "query", *good.fields, "range", "if-match"]))
    if name in ("path", "query"):
        text = _text(draw, getattr(good, name))
        parts = {"path": good.path, "query": good.query} | {name: text}
        return good, S3Request(good.method, parts["path"], parts["query"], good.fields)
    fields = {**good.fields, name: _text(draw, good.fields.get(name, "bytes=0-1"))}
    return good, S3Request(good.method, good.path, good.query, fields)


def _text(draw: st.DrawFn, text: str) -> str:
    return draw(spoiled(text.encode(), PIECES, most=2)).decode("latin-1")


@hunt(400)
@given(near_requests())
def test_a_spoiled_request_opens_what_was_signed_or_nothing(near):
    good, spoilt = near
    if answered(DOOR, spoilt) < 400:
        assert spoilt.method == good.method
        assert parse_target(spoilt.path) == parse_target(good.path)
        assert parse_query(spoilt.query) == parse_query(good.query)


@hunt(400)
@given(
    method=st.sampled_from(["GET", "HEAD", "PUT", "X"]),
    path=st.text(max_size=40).map(lambda text: f"/s3/voice/{text}") | st.text(max_size=20),
    query=st.text(max_size=40)
    | st.dictionaries(
        st.sampled_from(["list-type", "prefix", "max-keys", "continuation-token", "partNumber"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    ).map(urlencode),
    fields=st.dictionaries(
        st.sampled_from(["range", "if-match", "if-none-match", "if-range", "if-modified-since"]),
        st.text(max_size=30),
    ),
)
def test_any_request_gets_one_lawful_answer(method, path, query, fields):
    answered(OPEN, S3Request(method, path, query, {"host": "localhost", **fields}))
    answered(DOOR, S3Request(method, path, query, {"host": "cache", **fields}))


@hunt(300)
@given(st.text(max_size=60), st.text(max_size=20))
def test_any_text_is_no_signature(header, date):
    fields = {"host": "cache", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    for name in ("x-amz-date", "date"):
        answered(
            DOOR,
            S3Request("GET", "/s3/voice", "", fields | {name: date, "authorization": header}),
        )
