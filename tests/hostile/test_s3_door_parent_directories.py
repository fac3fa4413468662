"""Keys that climb: out of a model, out of a pipeline, out of the node's directory."""

import pytest

from cache_server.catalogue.registry import Key
from cache_server.doors.s3.request import S3Request
from tests.fakes.s3_door import Door, code

CLIMBS = [
    "m/../m/config.json",
    "m/./config.json",
    "../voice/m/config.json",
    "../../../../etc/passwd",
    "/etc/passwd",
    "m//config.json",
    "m/config.json/..",
    "m/..%2f..%2fetc/passwd",
    "m/%2e%2e/m/config.json",
    "m/%2e%2e%2f%2e%2e%2fadmin-token",
    "m/..%5c..%5cadmin-token",
    "m/%252e%252e/config.json",
    "m/config.json%00.txt",
    "m/config.json%0d%0ax",
    "m/\u2025/config.json",
    "m/%c0%ae%c0%ae/config.json",
    "./m/config.json",
    "..",
    ".",
]


@pytest.mark.parametrize("key", CLIMBS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_key_is_a_name_and_leads_nowhere_else(key, method):
    door = Door(auth=False)
    door.stock.put({"m/secret": 5}, key=Key("other", "voice"))
    request = S3Request(method, f"/s3/voice/{key}", "", {"host": "localhost"})
    reply = door.answer(request)
    assert reply.status in (400, 404), key
    if method == "GET":
        assert code(reply) in {"NoSuchKey", "InvalidURI"}


def test_a_signed_climb_is_one_as_well():
    door = Door()
    for key in CLIMBS[:8]:
        assert door.ask(f"/voice/{key}").status == 404, key


def test_a_prefix_that_climbs_shows_nothing():
    for prefix in ("..", "../", "/", "m/../", "%2e%2e%2f"):
        reply = Door().ask(f"/voice?list-type=2&prefix={prefix}")
        assert reply.status == 200
        assert b"<KeyCount>0</KeyCount>" in reply.body
