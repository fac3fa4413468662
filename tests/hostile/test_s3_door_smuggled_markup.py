"""Markup and line breaks in keys and prefixes: to forge a document, or a field of a head."""

from urllib.parse import quote, unquote
from xml.etree import ElementTree as ET

import pytest

from tests.fakes.s3_door import Door, content

EVIL = [
    "</Key><Key>other",
    "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>&e;",
    "]]><![CDATA[",
    "&#x3c;script&#x3e;",
    "a\r\nSet-Cookie: x=1",
    "a\x00b",
    "\ufffe\uffff",
    "<?xml version='1.0'?>",
]


KNOWN = {
    *("ListBucketResult", "Name", "Prefix", "StartAfter", "KeyCount", "MaxKeys", "Delimiter"),
    *("IsTruncated", "Contents", "Key", "LastModified", "ETag", "Size", "StorageClass"),
    *("CommonPrefixes",),
}


def document(door: Door, target: str) -> ET.Element:
    """Return what is said of ``target``; no field of its head may have a line break."""
    reply = door.ask(target)
    assert all(value.isprintable() for value in reply.fields.values())
    assert b"<!" not in content(reply)
    return ET.fromstring(content(reply))  # noqa: S314 - our own


@pytest.mark.parametrize("evil", EVIL, ids=ascii)
@pytest.mark.parametrize("name", ["prefix", "delimiter", "start-after"])
def test_what_a_client_asks_for_stays_text_in_the_answer(evil, name):
    root = document(Door(), f"/voice?list-type=2&{name}={quote(evil, safe='')}")
    names = {each.tag.partition("}")[2] for each in root.iter()}
    assert names <= KNOWN


@pytest.mark.parametrize("evil", EVIL, ids=ascii)
def test_a_key_that_is_markup_stays_text_in_the_refusal(evil):
    root = document(Door(), f"/voice/m/{quote(evil, safe='')}")
    assert [child.tag for child in root] == ["Code", "Message", "Key", "Resource", "RequestId"]


@pytest.mark.parametrize("evil", EVIL, ids=ascii)
def test_a_file_that_is_called_like_markup_stays_text_in_a_listing(evil):
    door = Door()
    door.stock.put({f"m/{evil}": 1, "m/good": 1})
    root = document(door, "/voice?list-type=2")
    assert len(root.findall("{*}Contents")) == 2
    coded = document(door, "/voice?list-type=2&encoding-type=url")
    keys = {unquote(str(each.text)) for each in coded.findall("{*}Contents/{*}Key")}
    assert keys == {f"m/{evil}", "m/good"}
