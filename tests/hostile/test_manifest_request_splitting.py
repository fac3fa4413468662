"""A line break or space in a URL tries to add a header, or a request, to the agent's own."""

import json

import pytest

from cache_protocol.errors import MalformedError
from cache_protocol.manifest import parse_manifest
from tests.hostile.names import manifest_of

URLS = ["http://n/a\r\nHost: x", "http://n/a b", "http://n/\0", "http://n/ü", "http://n/\ud800", ""]
URLS += ["http://n/\u2028", "h" * 16385]


@pytest.mark.parametrize("url", URLS, ids=lambda url: ascii(url[:20]))
@pytest.mark.parametrize("field", ["urls", "digests", "verdict"])
def test_a_url_that_is_not_visible_ascii_is_refused(field: str, url: str):
    document = json.loads(manifest_of(["a"]))
    document["models"]["m"]["files"][0][field] = [url] if field == "urls" else url
    with pytest.raises(MalformedError):
        parse_manifest(json.dumps(document).encode())


@pytest.mark.parametrize("text", ["a\r\nb", "\x1b[2J", "\ud800", "\u202e"], ids=ascii)
def test_a_lease_id_that_cannot_be_shown_is_refused(text: str):
    document = json.loads(manifest_of(["a"]))
    document["lease"]["id"] = text
    with pytest.raises(MalformedError, match="printable"):
        parse_manifest(json.dumps(document).encode())
