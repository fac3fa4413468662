"""Documents, read back by an XML parser."""

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from cache_server.doors.s3.documents import document, error_document, instant


@given(st.text())
def test_any_text_makes_a_document_that_can_be_read(text):
    root = ET.fromstring(error_document("Code", text, [("Resource", text)]))  # noqa: S314 - our own
    assert [child.tag for child in root] == ["Code", "Message", "Resource"]


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cn"])))
def test_text_that_can_be_written_comes_back_as_it_was(text):
    root = ET.fromstring(document("Root", [("Name", f"x{text}x")]))  # noqa: S314 - our own
    assert root[0].text == f"x{text}x"


def test_children_have_children_and_values_of_every_kind():
    made = document("Root", [("A", [("B", 5), ("C", True), ("D", False)]), ("E", [])])
    assert made.endswith(b"<A><B>5</B><C>true</C><D>false</D></A><E></E></Root>")


def test_an_instant_is_told_to_the_millisecond():
    assert instant(datetime(2026, 5, 4, 3, 2, 1, 4999, tzinfo=UTC)) == "2026-05-04T03:02:01.004Z"
