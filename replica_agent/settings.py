"""Everything that can be set about the agent. Read once, then passed down as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cache_protocol.environment import read_settings
from cache_protocol.errors import MalformedError
from cache_protocol.units import parse_size
from replica_agent.core.bearer import is_token, without_blanks
from replica_agent.core.urls import parse_url
from replica_agent.local.offer import AUTO, OFF

PREFIX = "REPLICA_AGENT_"
# Every name of the contract.
KNOWN = ("server", "token", "ca", "state_dir", "memory_limit", "fallback", "local_socket")
DEFAULT_SERVER = "http://127.0.0.1:8080"
HELP = """\
settings (environment; a flag wins):
  REPLICA_AGENT_SERVER        the node                                [http://127.0.0.1:8080]
  REPLICA_AGENT_TOKEN         bearer token of a replica
  REPLICA_AGENT_CA            authorities in PEM whose nodes are believed      [the system's]
  REPLICA_AGENT_MEMORY_LIMIT  most memory for weights, '80GiB'   [what the host or cgroup has]
  REPLICA_AGENT_STATE_DIR     where the last manifests and models' directories are
  REPLICA_AGENT_FALLBACK      when the cache cannot serve: 'origin', or 'fail'       [origin]
  REPLICA_AGENT_LOCAL_SOCKET  a node on this host lends its files there: a path, 'off', or
                              'auto', where the node says                              [auto]
  HF_TOKEN, HF_ENDPOINT, AWS_* for the origin, as their libraries define
"""
FALLBACKS = ("origin", "fail")  # what ``boot`` does when the cache cannot serve


@dataclass(frozen=True, slots=True)
class Settings:
    """What the agent was told."""

    server: str = DEFAULT_SERVER
    token: str | None = field(default=None, repr=False)
    memory_limit: int | None = None  # bytes; None: what the host allows
    state_dir: Path | None = None  # None: the user's, see ``boot.places``
    fallback: str = "origin"  # one of FALLBACKS
    ca: Path | None = None  # authorities in PEM, whose nodes are believed; None: the system's
    local_socket: str = AUTO  # or OFF, or where a node on this host lends its files

    def __post_init__(self) -> None:
        """Check what goes into requests.

        Raises:
            MalformedError: a server that is no URL, a fallback or a file of authorities that does
                not exist, or a token that is no header value. The token itself is never shown.
        """
        parse_url(self.server)
        if self.token is not None and not is_token(self.token):
            raise MalformedError(f"{PREFIX}TOKEN is empty or has characters that no token has")
        if self.ca is not None and not self.ca.is_file():
            raise MalformedError(f"{PREFIX}CA {self.ca} is not a file")
        if self.local_socket not in (AUTO, OFF) and not self.local_socket.startswith("/"):
            raise MalformedError(
                f"{PREFIX}LOCAL_SOCKET {self.local_socket!r} is not auto, off or an absolute path"
            )
        if self.fallback not in FALLBACKS:
            raise MalformedError(f"{PREFIX}FALLBACK {self.fallback!r} is not origin or fail")


def from_environment(env: Mapping[str, str]) -> Settings:
    """Return the settings that ``env`` holds.

    Raises:
        MalformedError: names every misspelt variable, or the value that is wrong.
    """
    given = read_settings(env, PREFIX, KNOWN)
    limit, state, ca = given.get("memory_limit"), given.get("state_dir"), given.get("ca")
    token = given.get("token")
    return Settings(
        server=given.get("server", DEFAULT_SERVER),
        token=None if token is None else without_blanks(token),
        ca=None if ca is None else Path(ca),
        memory_limit=None if limit is None else parse_size(limit),
        state_dir=None if state is None else Path(state).absolute(),
        fallback=given.get("fallback", "origin"),
        local_socket=given.get("local_socket", AUTO),
    )
