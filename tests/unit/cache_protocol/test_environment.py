import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.environment import read_settings
from cache_protocol.errors import MalformedError

KNOWN = ("root", "port", "data_port", "hot_window")


def read(**env: str) -> dict[str, str]:
    return read_settings(env, "CACHE_SERVER_", KNOWN)


def test_settings_are_found_by_their_prefix_and_named_without_it():
    assert read(CACHE_SERVER_ROOT="/c", CACHE_SERVER_PORT="1", HOME="/h") == {
        "root": "/c",
        "port": "1",
    }


def test_variables_of_other_programs_are_left_alone():
    assert read(CACHE_SERVERS="x", XCACHE_SERVER_ROOT="y", cache_server_root="z") == {}


def test_an_empty_value_is_a_value():
    assert read(CACHE_SERVER_ROOT="") == {"root": ""}


def test_every_wrong_name_is_told_at_once_in_order():
    with pytest.raises(MalformedError) as caught:
        read(CACHE_SERVER_ROOTS="", CACHE_SERVER_PROT="1")
    assert str(caught.value) == (
        "CACHE_SERVER_PROT is not a setting; did you mean CACHE_SERVER_PORT?; "
        "CACHE_SERVER_ROOTS is not a setting; did you mean CACHE_SERVER_ROOT?"
    )


def test_a_value_never_stands_in_the_message():
    with pytest.raises(MalformedError) as caught:
        read(CACHE_SERVER_ADMIN_TOKN="hunter2")
    assert "hunter2" not in str(caught.value)


@given(st.dictionaries(st.sampled_from(KNOWN), st.text(st.characters(exclude_characters="/"))))
def test_every_known_setting_is_read_as_it_stands(settings: dict[str, str]):
    env = {f"CACHE_SERVER_{name.upper()}": value for name, value in settings.items()}
    assert read(**env) == settings
