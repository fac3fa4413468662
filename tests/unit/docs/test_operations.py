"""The promises of the documents name tests; each of them must be there."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PACKAGES = ("cache_server", "replica_agent", "cache_protocol")
# What a table quotes of somebody else, or of a name that is put in.
NOT_OURS = {"database or disk is full", "add warmline"}


@pytest.mark.parametrize("page", ["docs/operations.md", "SECURITY.md"])
def test_every_test_that_a_page_of_promises_names_is_there(page):
    text = (REPOSITORY / page).read_text()
    named = set(re.findall(r"`(?:tests/[\w/]+/)?(test_\w+(?:\.py)?)`", text))
    files = list((REPOSITORY / "tests").rglob("test_*.py"))
    written = {file.name for file in files} | {
        name
        for file in files
        for name in re.findall(r"^def (test_\w+)\(", file.read_text(), re.MULTILINE)
    }
    assert named
    assert named <= written, sorted(named - written)


def said_by_us() -> str:
    """Return our source, with strings that go on in the next line in one piece."""
    text = "".join(f.read_text() for p in PACKAGES for f in (REPOSITORY / p).rglob("*.py"))
    return re.sub(r"\"\s*\n\s*f?\"", "", text)


def first_cells(section: str) -> list[str]:
    """Return what stands at the left of a section's tables."""
    text = (REPOSITORY / "docs/operations.md").read_text()
    _, _, rest = text.partition(f"\n## {section}\n")
    return re.findall(r"^\| (.*?) \|", rest.partition("\n## ")[0], re.MULTILINE)


@pytest.mark.parametrize(
    "section", ["A replica did not use the cache", "TLS", "Tenants", "The node's disk"]
)
def test_what_is_quoted_for_who_is_on_call_is_what_our_programs_say(section):
    quoted = {
        piece.strip()
        for cell in first_cells(section)
        for words in re.findall(r"`([^`]+)`", cell)
        for piece in re.split(r"'[^' ]*'|…|\b[A-Z]{1,2}\b|[(){}:,]|\d+", words)
    }
    long = {piece for piece in quoted if len(piece) > 8} - NOT_OURS
    text = said_by_us()
    assert long
    assert not {piece for piece in long if piece not in text}
