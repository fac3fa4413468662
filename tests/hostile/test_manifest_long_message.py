"""A large wrong value tries to come back as a message of the same size, in every log."""

import json

import pytest

from cache_protocol.errors import MalformedError
from cache_protocol.manifest import parse_manifest
from tests.hostile.names import manifest_of

LARGE = "x" * 1_000_000


@pytest.mark.parametrize(
    "field", ["wire", "chunk_size", "pipeline", "generation", "lease", "models"]
)
@pytest.mark.parametrize("value", [LARGE, [LARGE], {LARGE: LARGE}], ids=["text", "list", "map"])
def test_the_message_about_a_large_value_is_short(field: str, value: object):
    document = json.loads(manifest_of(["a"])) | {field: value}
    with pytest.raises(MalformedError) as caught:
        parse_manifest(json.dumps(document).encode())
    assert len(str(caught.value)) < 2000


def test_the_message_about_a_large_size_is_short():
    document = manifest_of(["a"]).replace(b'"size": 1', b'"size": "%s"' % LARGE.encode())
    with pytest.raises(MalformedError) as caught:
        parse_manifest(document)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("data", [b"\xff" * 1_000_000, b"[" * 1_000_000, b"9" * 1_000_000])
def test_the_message_about_a_large_document_that_is_none_is_short(data: bytes):
    with pytest.raises(MalformedError) as caught:
        parse_manifest(data)
    assert len(str(caught.value)) < 2000
