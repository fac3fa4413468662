"""A text where a list belongs tries to be walked letter by letter: urls "http…" as h, t, t, p."""

import json

import pytest

from cache_protocol.errors import MalformedError
from cache_protocol.manifest import parse_manifest
from tests.hostile.names import manifest_of


@pytest.mark.parametrize("value", ["http://n/a", {"http://n/a": 1}, {}, "", None])
def test_urls_that_are_no_list_are_refused(value: object):
    document = json.loads(manifest_of(["a"]))
    document["models"]["m"]["files"][0]["urls"] = value
    with pytest.raises(MalformedError):
        parse_manifest(json.dumps(document).encode())


@pytest.mark.parametrize("value", ["", {}, "ab", None])
def test_files_that_are_no_list_are_refused(value: object):
    document = json.loads(manifest_of(["a"]))
    document["models"]["m"]["files"] = value
    with pytest.raises(MalformedError):
        parse_manifest(json.dumps(document).encode())
