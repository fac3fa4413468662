"""Any JSON value in any place of a manifest tries to end in something else than a refusal."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import MalformedError
from cache_protocol.manifest import Manifest, dump_manifest, parse_manifest
from tests.hostile.names import manifest_of

VALID = json.loads(manifest_of(["a", "b/c"]))

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(-(2**70), 2**70),
    st.text(st.characters(), max_size=5),
    st.sampled_from(
        ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-20", "10:00Z", "a/../b"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(), max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    return [at, *(place for key, below in inner for place in places(below, (*at, key)))]


def with_value(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    copy = document.copy()
    copy[place[0]] = with_value(document[place[0]], place[1:], value)
    return copy


def parsed(data: bytes) -> Manifest | None:
    try:
        return parse_manifest(data)
    except MalformedError:
        return None


def assert_lawful(manifest: Manifest) -> None:
    """Assert that what came through can go on: to a URL, a log, the wire again."""
    again = json.dumps(dump_manifest(manifest), ensure_ascii=False).encode()
    assert parse_manifest(again) == manifest
    assert all(type(f.size) is int and f.urls for _, f in manifest.files())


@given(st.sampled_from(places(VALID)), values)
def test_any_value_in_any_place_is_refused_or_makes_a_lawful_manifest(place, value):
    manifest = parsed(json.dumps(with_value(VALID, place, value)).encode())
    if manifest is not None:
        assert_lawful(manifest)


@given(values)
def test_any_json_at_all_is_refused(value):
    assert parsed(json.dumps(value).encode()) is None


@given(st.integers(0, 600), st.integers(0, 3), st.binary(max_size=4))
def test_any_bytes_in_any_place_are_refused_or_make_a_lawful_manifest(at, gone, piece):
    data = json.dumps(VALID).encode()
    manifest = parsed(data[:at] + piece + data[at + gone :])
    if manifest is not None:
        assert_lawful(manifest)


@given(st.sampled_from([p for p in places(VALID) if p and isinstance(p[-1], str)]))
def test_a_missing_field_is_refused_or_was_a_model(place):
    document = json.loads(json.dumps(VALID))
    holder = document
    for key in place[:-1]:
        holder = holder[key]
    del holder[place[-1]]
    assert (parsed(json.dumps(document).encode()) is None) == (place != ("models", "m"))
