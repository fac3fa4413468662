import pytest

from cache_protocol.errors import MalformedError
from replica_agent.settings import KNOWN, Settings, from_environment


def test_without_variables_the_defaults_of_the_contract_hold():
    assert from_environment({}) == Settings("http://127.0.0.1:8080", None, None)


def test_variables_are_read():
    env = {
        "REPLICA_AGENT_SERVER": "http://cache:8080",
        "REPLICA_AGENT_TOKEN": "t",
        "REPLICA_AGENT_MEMORY_LIMIT": "2GiB",
    }
    assert from_environment(env) == Settings("http://cache:8080", "t", 2**31)


def test_every_name_of_the_contract_is_known():
    values = {"server": "http://c", "memory_limit": "1GB", "fallback": "fail", "ca": __file__}
    values["local_socket"] = "/run/warmline/socket"
    from_environment({f"REPLICA_AGENT_{n.upper()}": values.get(n, "x") for n in KNOWN})


def test_a_socket_is_a_path_or_a_word():
    for good in ("auto", "off", "/run/warmline/socket"):
        assert from_environment({"REPLICA_AGENT_LOCAL_SOCKET": good}).local_socket == good
    with pytest.raises(MalformedError, match="'no' is not auto, off or an absolute path"):
        from_environment({"REPLICA_AGENT_LOCAL_SOCKET": "no"})


def test_a_misspelt_name_is_an_error_that_names_the_right_one():
    with pytest.raises(MalformedError, match="REPLICA_AGENT_TOKEN"):
        from_environment({"REPLICA_AGENT_TOKN": "x"})


@pytest.mark.parametrize("token", ["", "a\r\nX-Evil: 1", "\u00fc"])
def test_a_token_that_cannot_stand_in_a_header_is_refused_and_not_shown(token):
    with pytest.raises(MalformedError) as caught:
        Settings(token=token)
    assert not token or token not in str(caught.value)


def test_a_file_of_authorities_that_is_not_there_is_refused_at_once():
    with pytest.raises(MalformedError, match=r"REPLICA_AGENT_CA /nowhere/ca.pem is not a file"):
        from_environment({"REPLICA_AGENT_CA": "/nowhere/ca.pem"})


def test_a_token_that_was_made_of_a_file_may_end_with_its_newline():
    assert from_environment({"REPLICA_AGENT_TOKEN": "wl_1\n"}).token == "wl_1"


def test_a_token_is_not_shown_with_the_settings():
    assert "SECRET" not in repr(Settings(token="SECRET"))
