import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given

from cache_protocol import manifest as module
from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import MalformedError
from cache_protocol.manifest import (
    MAX_FILE_SIZE,
    File,
    Lease,
    Manifest,
    Model,
    dump_manifest,
    parse_manifest,
)
from tests.unit.cache_protocol import legal

EXPIRES = datetime(2026, 11, 20, 12, tzinfo=UTC)


def file(path: str = "a", size: int = 3) -> File:
    return File(path, size, None, ("http://n/a",), "http://n/d", "http://n/v")


def manifest(*files: File) -> Manifest:
    models = {"asr": Model("hf://org/asr", "c0ffee", files)}
    return Manifest("voice", "0" * 32, Lease("l1", EXPIRES), models)


def encoded(made: Manifest, **changes) -> bytes:
    return json.dumps(dump_manifest(made) | changes).encode()


@given(legal.manifests)
def test_what_is_dumped_is_parsed_to_the_same_manifest(made: Manifest):
    assert parse_manifest(encoded(made)) == made


@given(legal.manifests)
def test_the_order_of_models_and_files_survives_the_wire(made: Manifest):
    assert list(parse_manifest(encoded(made)).files()) == list(made.files())


def test_the_document_has_the_names_that_the_wire_promises():
    document = dump_manifest(manifest(file()))
    assert document == {
        "wire": 1,
        "pipeline": "voice",
        "generation": "0" * 32,
        "lease": {"id": "l1", "expires": "2026-11-20T12:00:00Z"},
        "chunk_size": CHUNK_SIZE,
        "ticket_life": 900,
        "models": {
            "asr": {
                "source": "hf://org/asr",
                "revision": "c0ffee",
                "files": [
                    {
                        "path": "a",
                        "size": 3,
                        "sha256": None,
                        "urls": ["http://n/a"],
                        "digests": "http://n/d",
                        "verdict": "http://n/v",
                    }
                ],
            }
        },
    }


def test_a_manifest_that_does_not_say_how_long_tickets_live_means_what_the_wire_says():
    document = dump_manifest(manifest(file()))
    del document["ticket_life"]
    assert parse_manifest(json.dumps(document).encode()).ticket_life == 900


@pytest.mark.parametrize("life", [0, -1, 1.5, "900", None, True, 10**10])
def test_a_life_of_tickets_that_is_none_is_refused(life):
    with pytest.raises(MalformedError, match="life"):
        parse_manifest(encoded(manifest(file()), ticket_life=life))


def test_sizes_add_up_over_files_and_models():
    made = manifest(file("a", 3), file("b", 4))
    assert made.size == made.models["asr"].size == 7


def test_a_field_that_a_newer_node_added_is_ignored():
    made = manifest(file())
    assert parse_manifest(encoded(made, region="eu", next={"wire": 2})) == made


def test_a_document_that_does_not_say_its_source_is_the_caches():
    parsed = parse_manifest(encoded(manifest(file())))
    assert (parsed.source, parsed.reason) == ("cache", None)


@pytest.mark.parametrize("field", ["source", "reason"])
def test_a_source_or_reason_that_is_no_text_is_refused(field: str):
    with pytest.raises(MalformedError, match="printable text"):
        parse_manifest(encoded(manifest(), **{field: ["pass-through"]}))


def test_a_git_blob_id_of_another_form_is_refused():
    with pytest.raises(MalformedError, match="40"):
        parse_manifest(encoded(manifest(replace(file(), git_sha1="f" * 64))))


def test_another_wire_version_is_refused_with_both_numbers():
    with pytest.raises(MalformedError, match=r"speaks wire '2' .* this program speaks 1"):
        parse_manifest(encoded(manifest(), wire=2))


def test_another_chunk_size_is_refused():
    with pytest.raises(MalformedError, match="4096"):
        parse_manifest(encoded(manifest(), chunk_size=4096))


def test_a_lease_in_another_time_zone_is_read_as_utc():
    there = EXPIRES.astimezone(timezone(timedelta(hours=5, minutes=30)))
    lease = {"id": "l1", "expires": there.isoformat()}
    expires = parse_manifest(encoded(manifest(), lease=lease)).lease.expires
    assert expires == EXPIRES
    assert expires.tzinfo is UTC


def test_a_lease_without_a_time_zone_is_refused():
    lease = {"id": "l1", "expires": "2026-11-20T12:00:00"}
    with pytest.raises(MalformedError, match="time zone"):
        parse_manifest(encoded(manifest(), lease=lease))


@pytest.mark.parametrize("size", [-1, MAX_FILE_SIZE + 1])
def test_a_size_out_of_bounds_is_refused(size: int):
    with pytest.raises(MalformedError, match=str(size)):
        parse_manifest(encoded(manifest(file(size=size))))


def test_two_files_of_one_path_are_refused():
    with pytest.raises(MalformedError, match="collides"):
        parse_manifest(encoded(manifest(file("a"), file("A"))))


def test_the_same_path_in_two_models_is_no_collision():
    models = {name: Model("file:///m", "r", (file(),)) for name in ("asr", "tts")}
    made = Manifest("voice", "0" * 32, Lease("l1", EXPIRES), models)
    assert parse_manifest(encoded(made)) == made


def test_more_files_than_the_bound_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_FILES", 1)
    with pytest.raises(MalformedError, match="more than 1 files"):
        parse_manifest(encoded(manifest(file("a"), file("b"))))


def test_more_bytes_than_the_bound_are_refused_unread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_MANIFEST", 3)
    with pytest.raises(MalformedError, match="4 bytes is above 3"):
        parse_manifest(b"null")
