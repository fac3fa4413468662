from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cache_protocol.errors import DiskError, MalformedError
from cache_server.catalogue.registry import Key, Registration, Registry
from cache_server.core.content import ModelSpec

NOW = datetime(2030, 1, 1, tzinfo=UTC)
VOICE = Key("default", "voice")
MODEL = ModelSpec("m", "hf://o/n", "main", ("*.json",), ("*.md",), "secret-name")


@pytest.fixture
def open_registry(tmp_path):
    opened: list[Registry] = []

    def open_registry() -> Registry:
        opened.append(Registry(f"sqlite:///{tmp_path}/catalogue.db"))
        return opened[-1]

    yield open_registry
    for each in opened:
        each.close()


@pytest.fixture
def registry(open_registry):
    return open_registry()


def test_a_registration_is_the_same_in_the_next_process(registry, open_registry):
    registration = Registration(VOICE, (MODEL,), pinned=True)
    registry.put(registration, NOW)
    assert open_registry().all() == {VOICE: registration}


def test_a_change_replaces_what_was_there(registry):
    registry.put(Registration(VOICE, (MODEL,)), NOW)
    changed = Registration(VOICE, (ModelSpec("n", "file:///n"),), pinned=True)
    registry.put(changed, NOW)
    assert registry.all() == {VOICE: changed}


def test_a_registration_that_allows_nothing_has_the_digest_that_it_always_had():
    # Another digest would have every pipeline pulled again after an upgrade.
    assert Registration(VOICE, (MODEL,)).spec == "be8a3e5c74bdc93e5091803b791f5dfe"
    assert (
        Registration(VOICE, (replace(MODEL, allow_code=True),)).spec
        != "be8a3e5c74bdc93e5091803b791f5dfe"
    )


def test_that_an_admin_vouched_for_a_registration_is_written_down(registry, open_registry):
    for _ in range(2):
        registry.put(Registration(VOICE, (MODEL,), vouched=True), NOW)
        assert open_registry().all()[VOICE].vouched
    registry.put(Registration(VOICE, (MODEL,)), NOW)
    assert not open_registry().all()[VOICE].vouched


def test_a_pipeline_of_the_same_name_later_is_not_vouched_for(registry):
    registry.put(Registration(VOICE, (MODEL,), vouched=True), NOW)
    registry.remove(VOICE)
    registry.put(Registration(VOICE, (MODEL,)), NOW)
    assert not registry.all()[VOICE].vouched


def test_one_id_of_two_tenants_is_two_pipelines(registry):
    other = Key("other", "voice")
    registry.put(Registration(VOICE, (MODEL,)), NOW)
    registry.put(Registration(other, ()), NOW)
    registry.remove(VOICE)
    assert registry.all().keys() == {other}


def test_last_requests_are_kept_and_move_on(registry, open_registry):
    registry.touch({VOICE: NOW})
    registry.touch({VOICE: NOW + timedelta(hours=1)})
    assert open_registry().last_requests() == {VOICE: NOW + timedelta(hours=1)}


def test_removing_forgets_the_last_request_too(registry):
    registry.put(Registration(VOICE, (MODEL,)), NOW)
    registry.touch({VOICE: NOW})
    registry.remove(VOICE)
    assert (registry.all(), registry.last_requests()) == ({}, {})


def test_removing_what_is_not_there_is_fine(registry):
    registry.remove(VOICE)


def test_a_file_that_is_no_database_is_a_matter_of_the_disk(tmp_path):
    (tmp_path / "catalogue.db").write_bytes(b"no database" * 1000)
    with pytest.raises(DiskError, match="database"):
        Registry(f"sqlite:///{tmp_path}/catalogue.db")


def test_two_registrations_have_one_spec_only_if_their_models_are_equal():
    spec = Registration(VOICE, (MODEL,)).spec
    assert spec == Registration(VOICE, (MODEL,), pinned=True).spec
    assert spec != Registration(VOICE, (MODEL, ModelSpec("n", "file:///n"))).spec


@pytest.mark.parametrize("url", ["postgresql://u:planted@h:planted/db", "u:planted@h/db"])
def test_a_database_url_that_cannot_be_read_is_not_repeated(url):
    with pytest.raises(MalformedError, match="cannot be read") as refusal:
        Registry(url)
    assert "planted" not in str(refusal.value)
    assert refusal.value.__cause__ is None
