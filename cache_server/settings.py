"""Everything an operator can set. Read once in ``__main__``, then passed down as one value."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from cache_protocol.environment import read_settings
from cache_protocol.errors import CacheError, MalformedError
from cache_protocol.units import parse_duration, parse_size
from cache_server.core.reach import parse_reach

PREFIX = "CACHE_SERVER_"
# As agents take it: replica_agent/core/urls.py.
_ADDRESS = re.compile(
    r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?"
)
_TOKEN = re.compile(r"[!-~]{16,512}")
LOG_LEVELS = ("debug", "info", "warning", "error")


class LogFormat(StrEnum):
    """How the log looks."""

    AUTO = "auto"  # console on a terminal, json elsewhere
    CONSOLE = "console"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Operator settings; the variable for ``hot_window`` is ``CACHE_SERVER_HOT_WINDOW``."""

    root: Path = Path("cache")  # directory on NVMe that this process alone writes to
    capacity: int | None = None  # bytes for slots, fills included; None: 90 % of the file system
    host: str = "127.0.0.1"
    port: int = 8080  # control plane; 0 takes a free one
    data_port: int = 8081  # data plane; 0 takes a free one
    advertise: str | None = None  # host[:port] that replicas are given for the data plane
    region: str = "local"
    hot_window: timedelta = timedelta(hours=48)
    scrub_rate: int = 100_000_000  # bytes per second that a scrub reads at most
    access_check: timedelta = timedelta(hours=1)  # between two questions if it may still be read
    access_grace: timedelta = timedelta(hours=24)  # how old a yes may be while a hub is silent
    log_format: LogFormat = LogFormat.AUTO
    log_level: str = "info"
    boots_kept: int = 1000  # boot reports of one pipeline
    boots_kept_for: timedelta = timedelta(days=90)
    drain: timedelta = timedelta(seconds=20)  # that readers get to finish after SIGTERM
    database_url: str | None = None  # None: SQLite under root
    auth: bool = True
    admin_token: str | None = None  # None: generated once, kept under root
    pipelines: Path | None = None  # a pipelines.yaml that is registered at start
    secrets_dir: Path | None = None  # mounted secrets that ``credentials`` names
    tenants: Path | None = None  # a tenants.yaml: who may use which origins, and how much
    private_origins: str = ""  # where origins may be besides the public Internet, see core/reach
    allow_plaintext: bool = False
    local_socket: str | None = None  # where this host's replicas ask; None: in root, or "off"
    tls_cert: Path | None = None  # the chain, in PEM, the node's own certificate first
    tls_key: Path | None = None
    ca: Path | None = None  # for the commands that ask a node; the node itself has no use for it

    def __repr__(self) -> str:
        """Leave out what is or holds a secret: settings end up in logs."""
        shown = [f.name for f in fields(self) if f.name not in ("admin_token", "database_url")]
        return f"Settings({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    @classmethod
    def from_env(cls, env: Mapping[str, str], flags: Mapping[str, str]) -> Self:
        """Read settings from ``env``; ``flags`` win.

        Raises:
            MalformedError: names every wrong value, and every unknown variable with the nearest
                known one.
        """
        _refuse_shown_secret(flags)
        given = {**read_settings(env, PREFIX, PARSERS.keys()), **flags}
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for name, text in given.items():
            try:
                values[name] = PARSERS[name](text)
            except (CacheError, ValueError) as error:
                wrong.append(f"{PREFIX}{name.upper()}: {error}")
        if wrong:
            raise MalformedError("; ".join(wrong))
        settings = cls(**values)
        settings.check()
        return settings

    def check(self) -> None:
        """Refuse what is dangerous or not there yet; MalformedError."""
        if not self.auth and not _is_loopback(self.host):
            raise MalformedError(
                f"CACHE_SERVER_AUTH=off is accepted on a loopback address only, not on {self.host}"
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise MalformedError(
                "CACHE_SERVER_TLS_CERT and CACHE_SERVER_TLS_KEY go together: one is missing"
            )
        if self.speaks_plainly and not self.allow_plaintext:
            raise MalformedError(
                f"{self.host} is not a loopback address, and without TLS whoever is on the way "
                "reads tokens and weights. Set CACHE_SERVER_TLS_CERT and CACHE_SERVER_TLS_KEY, or, "
                "on a network that you trust, CACHE_SERVER_ALLOW_PLAINTEXT=on"
            )

    @property
    def speaks_plainly(self) -> bool:
        """Whether others than this machine are spoken to, and without TLS."""
        return self.tls_cert is None and not _is_loopback(self.host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _switch(text: str) -> bool:
    if text.lower() not in ("on", "off"):
        raise MalformedError(f"{text!r} is neither 'on' nor 'off'")
    return text.lower() == "on"


def _capacity(text: str) -> int:
    size = parse_size(text)
    if size <= 0:
        raise MalformedError(f"{text!r} leaves no room for any pipeline; give a size above 0")
    return size


def _rate(text: str) -> int:
    rate = parse_size(text)
    if rate <= 0:
        raise MalformedError(f"{text!r} bytes per second would never come to an end")
    return rate


def _interval(text: str) -> timedelta:
    span = parse_duration(text)
    if span < timedelta(seconds=1):
        raise MalformedError(f"{text!r} is below a second: the hub would be asked without a pause")
    return span


def _log_format(text: str) -> LogFormat:
    if text.lower() not in tuple(LogFormat):
        raise MalformedError(f"{text!r} is none of {', '.join(LogFormat)}")
    return LogFormat(text.lower())


def _level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise MalformedError(f"{text!r} is none of {', '.join(LOG_LEVELS)}")
    return text.lower()


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise MalformedError(f"{text!r} is not a number from 1 to 999999999")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65536):
        raise MalformedError(f"{text!r} is not a port")
    return int(text)


def _text(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise MalformedError("must not be empty, nor hold control characters")
    return text.strip()


def _token(text: str) -> str:
    """Check a token that an operator chose: a wrong guess costs next to nothing, see attempts."""
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        raise MalformedError(
            f"a token of {len(token)} characters is too short, too long, or holds a blank or a "
            "letter beyond ASCII: 16 to 512 are needed that nobody guesses, such as those of "
            "'openssl rand -hex 32'"
        )
    return token


def _address(text: str) -> str:
    """Check ``host[:port]``, IPv6 in brackets: it becomes part of every URL in a manifest."""
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or not 0 < int(match["port"] or 1) < 65536:
        raise MalformedError(f"{text!r} is not of the form host[:port]")
    return text.strip()


def _reach(text: str) -> str:
    parse_reach(_text(text))
    return text


def _local_socket(text: str) -> str:
    if text != "off" and not text.startswith("/"):
        raise MalformedError(f"{text!r} is neither 'off' nor an absolute path")
    return _text(text)


def _path(text: str) -> Path:
    return Path(_text(text))


def _refuse_shown_secret(flags: Mapping[str, str]) -> None:
    """Refuse a password on the command line, which every user of the machine can read."""
    url = flags.get("database_url", "")
    # Drivers also take it as one of the fields behind the "?": libpq, section 34.1.1.
    user = url.partition("://")[2].rpartition("@")[0]
    if ":" in user or "password=" in url.lower():
        raise MalformedError(
            "--database-url holds a password, and everybody on this machine can list the command "
            "lines of processes; set CACHE_SERVER_DATABASE_URL instead"
        )


PARSERS: dict[str, Callable[[str], Any]] = {
    "root": _path,
    "capacity": _capacity,
    "host": _text,
    "port": _port,
    "data_port": _port,
    "advertise": _address,
    "region": _text,
    "hot_window": parse_duration,
    "scrub_rate": _rate,
    "access_check": _interval,
    "access_grace": parse_duration,
    "log_format": _log_format,
    "log_level": _level,
    "boots_kept": _count,
    "boots_kept_for": parse_duration,
    "drain": parse_duration,
    "database_url": _text,
    "auth": _switch,
    "admin_token": _token,
    "pipelines": _path,
    "secrets_dir": _path,
    "tenants": _path,
    "private_origins": _reach,
    "allow_plaintext": _switch,
    "local_socket": _local_socket,
    "tls_cert": _path,
    "tls_key": _path,
    "ca": _path,
}
