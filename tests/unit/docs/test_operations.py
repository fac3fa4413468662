"""The promises of the documents name tests; each of them must be there."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("page", ["docs/operations.md", "SECURITY.md"])
def test_every_test_that_a_page_of_promises_names_is_there(page):
    text = (REPOSITORY / page).read_text()
    named = set(re.findall(r"`(?:tests/\w+/)?(test_\w+(?:\.py)?)`", text))
    files = list((REPOSITORY / "tests").rglob("test_*.py"))
    written = {file.name for file in files} | {
        name
        for file in files
        for name in re.findall(r"^def (test_\w+)\(", file.read_text(), re.MULTILINE)
    }
    assert named
    assert named <= written, sorted(named - written)
