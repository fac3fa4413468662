from datetime import timedelta
from pathlib import Path

import pytest

from cache_protocol.errors import MalformedError
from cache_server.cli.arguments import SERVE_FLAGS, SETTINGS
from cache_server.settings import PARSERS, Settings


def read(flags: dict[str, str] | None = None, **env: str) -> Settings:
    return Settings.from_env({f"CACHE_SERVER_{k}": v for k, v in env.items()}, flags or {})


def test_the_defaults_are_the_contracts():
    settings = read()
    assert (settings.root, settings.host) == (Path("cache"), "127.0.0.1")
    assert (settings.port, settings.data_port, settings.region) == (8080, 8081, "local")
    assert (settings.hot_window, settings.auth, settings.capacity) == (
        timedelta(hours=48),
        True,
        None,
    )


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("CAPACITY", "3.5TiB", int(3.5 * 2**40)),
        ("CAPACITY", "500GB", 500 * 10**9),
        ("CAPACITY", "1", 1),
        ("PORT", "0", 0),
        ("DATA_PORT", "65535", 65535),
        ("HOT_WINDOW", "P2D", timedelta(days=2)),
        ("BOOTS_KEPT", "60", 60),
        ("LOG_FORMAT", "JSON", "json"),
        ("LOG_LEVEL", "debug", "debug"),
        ("AUTH", "OFF", False),
        ("ROOT", "/nvme", Path("/nvme")),
        ("ADVERTISE", "cache.example:81", "cache.example:81"),
        ("ADVERTISE", "[::1]", "[::1]"),
    ],
)
def test_a_setting_is_read(name, text, value):
    assert getattr(read(**{name: text}), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CAPACITY", "much"),
        ("CAPACITY", "0"),
        ("PORT", "65536"),
        ("PORT", "0065536999"),
        ("PORT", "-1"),
        ("PORT", "٣"),
        ("HOT_WINDOW", "48h"),
        ("AUTH", "false"),
        ("BOOTS_KEPT", "0"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
        ("BOOTS_KEPT", "ten"),
        ("REGION", " "),
        ("REGION", "a\nb"),
        ("ADVERTISE", "http://cache:81"),
        ("ADVERTISE", "cache:port"),
        ("ADVERTISE", "user@cache"),
        ("ADVERTISE", "cache/path"),
        ("ADVERTISE", "a b"),
        ("ADVERTISE", "cache:0"),
        ("ADVERTISE", "cache:65536"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(name, text):
    with pytest.raises(MalformedError, match=f"CACHE_SERVER_{name}"):
        read(**{name: text})


def test_every_wrong_value_is_named_at_once():
    with pytest.raises(MalformedError, match=r"PORT.*AUTH"):
        read(PORT="x", AUTH="x")


def test_a_flag_wins_over_the_environment():
    assert read({"port": "1"}, PORT="2").port == 1


def test_a_misspelt_name_is_an_error_with_the_nearest_right_one():
    with pytest.raises(MalformedError, match="CACHE_SERVER_CAPACITY"):
        read(CAPCITY="1GB")


def test_auth_may_be_off_on_loopback_only():
    assert not read(AUTH="off", HOST="::1").auth
    with pytest.raises(MalformedError, match="loopback"):
        read(AUTH="off", HOST="0.0.0.0", ALLOW_PLAINTEXT="on")


def test_plain_text_off_loopback_must_be_wanted():
    with pytest.raises(MalformedError, match="CACHE_SERVER_ALLOW_PLAINTEXT"):
        read(HOST="0.0.0.0")
    assert read(HOST="0.0.0.0", ALLOW_PLAINTEXT="on").host == "0.0.0.0"


def test_with_tls_any_address_will_do():
    assert read(HOST="0.0.0.0", TLS_CERT="/cert.pem", TLS_KEY="/key.pem").host == "0.0.0.0"


@pytest.mark.parametrize("given", [{"TLS_CERT": "/cert.pem"}, {"TLS_KEY": "/key.pem"}])
def test_a_certificate_and_its_key_go_together(given):
    with pytest.raises(MalformedError, match="one is missing"):
        read(**given)


def test_neither_token_nor_database_password_is_shown():
    shown = repr(
        read(ADMIN_TOKEN="t0ken-of-the-admin", DATABASE_URL="postgresql://u:passw0rd@db/w")
    )
    assert "t0ken" not in shown
    assert "passw0rd" not in shown


@pytest.mark.parametrize("token", ["secret", "x" * 15, "x" * 513, "two words of a token", "é" * 32])
def test_an_admin_token_that_can_be_guessed_or_not_be_sent_is_refused_and_not_repeated(token):
    with pytest.raises(MalformedError, match="openssl rand -hex 32") as refusal:
        read(ADMIN_TOKEN=token)
    assert token not in str(refusal.value)
    assert read(ADMIN_TOKEN=f" {'x' * 16}\n").admin_token == "x" * 16


def test_every_flag_is_a_setting_and_help_names_every_setting_that_works():
    assert {flag.replace("-", "_") for flag in SERVE_FLAGS} <= PARSERS.keys()
    for name in PARSERS:
        assert f"CACHE_SERVER_{name.upper()} " in SETTINGS


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:planted@db/warmline",
        "postgresql+psycopg://u:pl%40nted@db:5432/w",
        "postgresql://u:planted@[::1/w",
        "postgresql://u:plan/nted@db/w",
        "postgresql:///w?host=/run&password=planted",
    ],
)
def test_a_password_on_the_command_line_is_refused_and_not_repeated(url):
    with pytest.raises(MalformedError, match="CACHE_SERVER_DATABASE_URL") as refusal:
        Settings.from_env({}, {"database_url": url})
    assert "nted" not in str(refusal.value)
    assert Settings.from_env({"CACHE_SERVER_DATABASE_URL": url}, {}).database_url == url


def test_a_database_without_a_password_may_stand_on_the_command_line():
    for url in (
        "postgresql://u@db/warmline",
        "sqlite:////var/lib/x.db",
        "postgresql:///w?host=/run",
    ):
        assert Settings.from_env({}, {"database_url": url}).database_url == url


def test_how_often_a_hub_is_asked_what_may_be_read_is_a_second_or_more():
    env = {"CACHE_SERVER_ACCESS_CHECK": "PT30M", "CACHE_SERVER_ACCESS_GRACE": "P3D"}
    settings = Settings.from_env(env, {})
    spans = (settings.access_check, settings.access_grace)
    assert spans == (timedelta(minutes=30), timedelta(days=3))
    with pytest.raises(MalformedError, match="CACHE_SERVER_ACCESS_CHECK: 'PT0S' is below a second"):
        Settings.from_env({"CACHE_SERVER_ACCESS_CHECK": "PT0S"}, {})


def test_the_local_socket_is_a_path_or_off():
    for good in ("off", "/run/warmline/socket"):
        assert Settings.from_env({"CACHE_SERVER_LOCAL_SOCKET": good}, {}).local_socket == good
    with pytest.raises(MalformedError, match="'on' is neither 'off' nor an absolute path"):
        Settings.from_env({"CACHE_SERVER_LOCAL_SOCKET": "on"}, {})
