"""A misspelt setting tries to pass in silence, so that a default rules where nobody expects it."""

import pytest

from cache_protocol.environment import read_settings
from cache_protocol.errors import MalformedError

SERVER = (
    "root",
    "capacity",
    "host",
    "port",
    "data_port",
    "advertise",
    "region",
    "hot_window",
    "database_url",
    "auth",
    "admin_token",
    "pipelines",
    "tls_cert",
    "tls_key",
    "secrets_dir",
    "allow_plaintext",
)
AGENT = ("server", "token", "ca", "state_dir", "memory_limit", "fallback")
KNOWN = {"CACHE_SERVER_": SERVER, "REPLICA_AGENT_": AGENT}


@pytest.mark.parametrize(
    ("prefix", "wrong", "right"),
    [
        ("CACHE_SERVER_", "CAPACTY", "CAPACITY"),
        ("CACHE_SERVER_", "CAPCAITY", "CAPACITY"),
        ("CACHE_SERVER_", "ROOTS", "ROOT"),
        ("CACHE_SERVER_", "PROT", "PORT"),
        ("CACHE_SERVER_", "DATAPORT", "DATA_PORT"),
        ("CACHE_SERVER_", "HOTWINDOW", "HOT_WINDOW"),
        ("CACHE_SERVER_", "HOT_WINDOWS", "HOT_WINDOW"),
        ("CACHE_SERVER_", "DB_URL", "DATABASE_URL"),
        ("CACHE_SERVER_", "AUHT", "AUTH"),
        ("CACHE_SERVER_", "TLS_CERTS", "TLS_CERT"),
        ("CACHE_SERVER_", "REGOIN", "REGION"),
        ("REPLICA_AGENT_", "SERVRE", "SERVER"),
        ("REPLICA_AGENT_", "MEMORY_LIMITS", "MEMORY_LIMIT"),
        ("REPLICA_AGENT_", "FALL_BACK", "FALLBACK"),
        ("REPLICA_AGENT_", "TOKNE", "TOKEN"),
    ],
)
def test_the_setting_that_was_meant_is_named(prefix: str, wrong: str, right: str):
    with pytest.raises(MalformedError, match=f"did you mean {prefix}{right}\\?$"):
        read_settings({prefix + wrong: "x"}, prefix, KNOWN[prefix])


@pytest.mark.parametrize("value", ["9000", "", "127.0.0.1:9000"])
def test_a_misspelt_port_with_a_plain_value_is_no_injected_variable(value: str):
    with pytest.raises(MalformedError, match="CACHE_SERVER_DATA_PORT"):
        read_settings({"CACHE_SERVER_DAAT_PORT": value}, "CACHE_SERVER_", SERVER)


@pytest.mark.parametrize("name", ["", "_", "Ü", "=", "A" * 10_000])
def test_a_name_like_none_is_refused_all_the_same(name: str):
    with pytest.raises(MalformedError, match="is not a setting"):
        read_settings({f"CACHE_SERVER_{name}": "x"}, "CACHE_SERVER_", SERVER)
