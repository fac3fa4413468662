"""tenants.yaml: which origins and secrets each tenant may use, and how much of the node.

tenants:
  default:
    origins: ["hf://*", "s3://weights/team-a/*", "file:///srv/models"]
    secrets: [hf-team-a]      # names below CACHE_SERVER_SECRETS_DIR that it may use
    node_credentials: true    # HF_TOKEN and AWS_* of the node; without a word: tenant default alone
    allow_pickle: false       # whether its pipelines may ask for pickle-based weights
    allow_code: false         # ... and for the code of a repository
    on_demand: false          # whether its replicas may have repositories pulled that nobody put
    quotas: {bytes: 2TiB, pipelines: 200, fills: 4, connections: 256}

The file is a whole: a tenant that is not in it may use no origin, a limit that is not in it is
none. Read again when it changes; of one that is wrong nothing is taken, and the last good one
stays: a slip of the pen must neither open the node nor stop it.
"""

import logging
import os
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
)

from cache_protocol.errors import MalformedError
from cache_protocol.names import check_pipeline
from cache_protocol.units import parse_size
from cache_server.core.access import DEFAULT_TENANT
from cache_server.core.tenants import Place, Quotas, Tenant, Tenants, parse_place

log = logging.getLogger(__name__)

MAX_SIZE = 4 * 2**20  # bytes; some ten thousand tenants


def _told(check: Callable[[str], object]) -> Callable[[object], object]:
    """Return ``check`` with its error in the words that pydantic collects."""

    def validate(text: object) -> object:
        if not isinstance(text, str):
            raise ValueError("must be a text")  # noqa: TRY004 - pydantic collects ValueError
        try:
            return check(text)
        except MalformedError as error:
            raise ValueError(str(error)) from error

    return validate


def _size(value: object) -> object:
    return _told(parse_size)(value) if isinstance(value, str) else value


_Place = Annotated[Place, PlainValidator(_told(parse_place))]
_Secret = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")]  # as ``credentials`` is
_Limit = Annotated[int | None, Field(ge=0, le=2**63 - 1)]


class _Quotas(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    bytes: Annotated[_Limit, BeforeValidator(_size)] = None
    pipelines: _Limit = None
    fills: _Limit = None
    connections: _Limit = None


class _Tenant(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    origins: list[_Place] = Field(default_factory=list, max_length=10_000)
    secrets: list[_Secret] = Field(default_factory=list, max_length=10_000)
    node_credentials: bool | None = None
    allow_pickle: bool = False
    allow_code: bool = False
    on_demand: bool = False
    quotas: _Quotas = _Quotas()

    def named(self, name: str) -> Tenant:
        own = self.node_credentials
        return Tenant(
            name,
            origins=tuple(self.origins),
            secrets=frozenset(self.secrets),
            quotas=Quotas(**self.quotas.model_dump()),
            allow_pickle=self.allow_pickle,
            allow_code=self.allow_code,
            on_demand=self.on_demand,
            node_credentials=name == DEFAULT_TENANT if own is None else own,
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    tenants: dict[Annotated[str, AfterValidator(_told(check_pipeline))], _Tenant]


class _Version(NamedTuple):
    """What tells one state of the file from the next, as ``stat`` says it."""

    inode: int
    size: int
    changed: int  # nanoseconds


class TenantsFile:
    """The tenants of a node, as the file has them now. Safe for threads."""

    def __init__(self, path: Path | None) -> None:
        """Read ``path``; None: the operator lists no tenants, and all are as without a list.

        Raises:
            MalformedError: there is no such file, or it is wrong; says where.
        """
        self._path = path
        self._version = None if path is None else _version(path)
        self._tenants = Tenants() if path is None else read_tenants(path)

    def of(self, name: str) -> Tenant:
        """Return what tenant ``name`` may do now. A look into memory: event loops ask too."""
        return self._tenants.of(name)

    def look(self) -> None:
        """Read the file again if it has changed; for one thread, again and again."""
        if self._path is None:
            return
        # Before it is read: what is written meanwhile is another version, and is read next time.
        version = _version(self._path)
        if version == self._version:
            return
        self._version = version
        try:
            self._tenants = read_tenants(self._path)
        except MalformedError as error:
            # Without a traceback, which would say nothing more.
            log.error("%s; the tenants stay as they were before", error)  # noqa: TRY400
        else:
            log.info("%s was read again", self._path)


def read_tenants(path: Path) -> Tenants:
    """Return the tenants of ``path``.

    Raises:
        MalformedError: it cannot be read, is too large, is not YAML, or a field is wrong; says
            which.
    """
    try:
        with path.open("rb") as file:
            return _tenants(file.read(MAX_SIZE + 1))
    except OSError as error:
        raise MalformedError(f"{path}: {error.strerror}") from error
    except MalformedError as error:
        raise MalformedError(f"{path}: {error}") from error


def _tenants(text: bytes) -> Tenants:
    if len(text) > MAX_SIZE:
        raise MalformedError(f"it is above {MAX_SIZE} bytes")
    try:
        # A SafeLoader, see its class; S506 knows that one's name alone.
        file = _File.model_validate(yaml.load(text, _OneOfEach))  # noqa: S506
    except ValidationError as error:
        where = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:10])
        raise MalformedError("; ".join(where)) from error
    # ValueError: a text that looks like a date and is none, such as 2030-99-99.
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise MalformedError(f"it is not YAML: {error}") from error
    return Tenants({name: tenant.named(name) for name, tenant in file.tenants.items()})


class _OneOfEach(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would take the last and say nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - as yaml has it
        seen: set[str] = set()
        for key, _value in node.value:
            if key.value in seen:
                raise MalformedError(
                    f"line {key.start_mark.line + 1}: {key.value!r} is there twice"
                )
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _version(path: Path) -> _Version | None:
    """Return the version of ``path``, behind all links; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return _Version(found.st_ino, found.st_size, found.st_mtime_ns)
