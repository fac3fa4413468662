"""Variables that Kubernetes injects for Services of our names try to stop, or steer, a program."""

import pytest

from cache_protocol.environment import read_settings
from cache_protocol.errors import MalformedError

KNOWN = ["host", "port", "data_port", "database_url", "server"]


def injected(service: str, port: int, name: str = "HTTP", protocol: str = "tcp") -> dict[str, str]:
    """Return what the kubelet sets for ``service``: Documentation, "Accessing the Service"."""
    link = f"{service}_PORT_{port}_{protocol.upper()}"
    return {
        f"{service}_SERVICE_HOST": "10.0.0.11",
        f"{service}_SERVICE_PORT": str(port),
        f"{service}_SERVICE_PORT_{name}": str(port),
        f"{service}_PORT": f"{protocol}://10.0.0.11:{port}",
        link: f"{protocol}://10.0.0.11:{port}",
        f"{link}_PROTO": protocol,
        f"{link}_PORT": str(port),
        f"{link}_ADDR": "10.0.0.11",
    }


@pytest.mark.parametrize("protocol", ["tcp", "udp", "sctp"])
@pytest.mark.parametrize(
    "service",
    [
        "CACHE_SERVER",
        "CACHE_SERVER_DATA",
        "CACHE_SERVER_HOST",
        "CACHE_SERVER_EU_2",
        "CACHE_SERVER_SERVICE",
    ],
)
def test_what_a_service_brings_is_ignored(service: str, protocol: str):
    env = injected(service, 8080, protocol=protocol)
    assert read_settings(env, "CACHE_SERVER_", KNOWN) == {}


def test_the_operators_settings_beside_them_are_read():
    env = injected("CACHE_SERVER", 8080) | {"CACHE_SERVER_HOST": "0.0.0.0"}
    assert read_settings(env, "CACHE_SERVER_", KNOWN) == {"host": "0.0.0.0"}


def test_the_operators_port_wins_over_the_injected_variable_of_that_name():
    env = injected("CACHE_SERVER", 8080) | {"CACHE_SERVER_PORT": "9090"}
    assert read_settings(env, "CACHE_SERVER_", KNOWN) == {"port": "9090"}


@pytest.mark.parametrize("name", ["DATABASE_URL", "SERVER", "HOST"])
def test_a_setting_that_is_no_port_is_read_whatever_its_value_looks_like(name: str):
    env = {f"CACHE_SERVER_{name}": "tcp://10.0.0.11:5432"}
    assert read_settings(env, "CACHE_SERVER_", KNOWN) == {name.lower(): "tcp://10.0.0.11:5432"}


def test_a_misspelt_setting_with_a_value_like_a_link_is_refused():
    with pytest.raises(MalformedError, match="CACHE_SERVER_DATABASE_URL"):
        read_settings({"CACHE_SERVER_DATABSE_URL": "tcp://db"}, "CACHE_SERVER_", KNOWN)
