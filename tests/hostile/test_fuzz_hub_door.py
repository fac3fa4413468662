"""Spoiled requests of the hub's protocol: whatever comes, one answer goes, in the hub's words."""

import socket
from http.client import HTTPResponse

from hypothesis import given
from hypothesis import strategies as st

from tests.hostile.mutations import hunt, spoiled
from tests.unit.cache_server.doors.hub.conftest import door  # noqa: F401 - a fixture

PIECES = [
    *(b"/", b"//", b"%2F", b"..", b"%00", b"%0d%0a", b"%", b"?", b"&", b"=", b"#", b"%ff", b"+"),
    *(b"resolve", b"revision", b"tree", b"api", b"models", b"main", b"refs", b"paths-info"),
    *(b"cursor=", b"limit=0", b"recursive=1", b"9" * 30, b"\xff", b"-", b"@", b"xet-read-token"),
]
TARGETS = [
    b"/hf/voice/api/models/org/name/revision/main?blobs=true",
    b"/hf/voice/api/models/org/name/tree/main/sub?recursive=true&cursor=1&limit=2",
    b"/hf/voice/api/models/org/name/refs",
    b"/hf/voice/org/name/resolve/main/config.json",
    b"/hf/voice/org/name/resolve/refs%2Fpr%2F1/w.dat",
    b"/hf/-/api/models/org/name",
]
LAWFUL = {200, 206, 302, 304, 400, 403, 404, 405, 412, 413, 416}


@hunt(250)
@given(
    target=st.sampled_from(TARGETS).flatmap(lambda t: spoiled(t, PIECES)),
    method=st.sampled_from([b"GET", b"GET", b"HEAD", b"POST", b"DELETE"]),
    header=st.sampled_from(
        [b"", b"Range: bytes=-", b"Range: bytes=5-1", b"If-None-Match: *", b"If-Match: \xff"]
    ),
)
def test_any_request_gets_one_lawful_answer(door, target, method, header):  # noqa: F811
    if not target.startswith(b"/hf/") or not all(0x21 <= byte <= 0x7E for byte in target):
        return  # not a request below the door, or none at all
    head = b"%b %b HTTP/1.1\r\nHost: n\r\nAuthorization: Bearer the-token\r\n" % (method, target)
    with socket.create_connection(("127.0.0.1", door.port), timeout=20) as connection:
        connection.sendall(head + (header + b"\r\n" if header else b"") + b"\r\n")
        answer = HTTPResponse(connection, method=method.decode())
        answer.begin()
        body = answer.read()
    assert answer.status in LAWFUL, (target, body)
    if answer.status >= 400:
        assert answer.getheader("X-Error-Message")
        assert b"/tmp" not in body
