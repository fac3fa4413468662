"""Ten thousand parts: in one range, as part numbers, as an upload that was never made."""

import time

import pytest

from tests.fakes.s3_door import Door, code, content, pattern

MANY = "bytes=" + ",".join(f"{n}-{n}" for n in range(10_000))


def test_ten_thousand_ranges_at_once_are_the_object_once():
    begin = time.process_time()
    reply = Door().ask("/voice/m/config.json", range=MANY)
    assert (reply.status, content(reply)) == (200, pattern("m/config.json", 10))
    assert time.process_time() - begin < 5  # seconds; it takes milliseconds


@pytest.mark.parametrize("part", ["2", "10000"])
def test_a_part_beyond_the_last_is_refused(part):
    reply = Door().ask(f"/voice/m/config.json?partNumber={part}")
    assert (reply.status, code(reply)) == (416, "InvalidPartNumber")


@pytest.mark.parametrize("part", ["0", "10001", "-1", "1.0", "", "9" * 5000, "\u0661", "1e4"])
def test_a_part_that_s3_does_not_know_is_refused(part):
    reply = Door().ask(f"/voice/m/config.json?partNumber={part}")
    assert (reply.status, code(reply)) == (400, "InvalidArgument")


def test_an_object_is_read_in_ten_thousand_parts():
    door = Door()
    door.stock.put({"m/a": 10_000})
    # A tenth of them: the others are the same, and each is signed and checked.
    parts = [door.ask("/voice/m/a", range=f"bytes={n}-{n}") for n in range(0, 10_000, 100)]
    assert {part.fields["ETag"] for part in parts} == {parts[0].fields["ETag"]}
    assert b"".join(map(content, parts)) == pattern("m/a", 10_000)[::100]


@pytest.mark.parametrize("query", ["uploads", "uploadId=x", "uploadId=x&partNumber=10000"])
def test_parts_of_an_upload_are_neither_listed_nor_taken(query):
    door = Door()
    assert code(door.ask(f"/voice/m/a?{query}")) == "NotImplemented"
    for method in ("PUT", "POST", "DELETE"):
        assert code(door.ask(f"/voice/m/a?{query}", method)) == "MethodNotAllowed"
