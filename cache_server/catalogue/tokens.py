"""Tokens as they are kept: a hash of the secret, never the secret."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, String, Table, Text, delete, insert, select

from cache_server.catalogue.registry import Registry
from cache_server.catalogue.tables import metadata
from cache_server.core.access import Identity, Role

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("role", String(20), nullable=False),
    Column("pipelines", Text),  # JSON list; NULL: all of the tenant
    Column("name", String(100), nullable=False),
    Column("sha256", String(64), nullable=False),  # of the secret, in hex
    Column("created", String(40), nullable=False),
    Column("expires", String(40)),  # NULL: never
)


@dataclass(frozen=True, slots=True)
class Token:
    """One token without its secret."""

    identity: Identity
    name: str  # for people
    sha256: bytes
    created: datetime
    expires: datetime | None


class Tokens:
    """The table of tokens. Safe for threads."""

    def __init__(self, registry: Registry) -> None:
        """Keep them beside what ``registry`` keeps.

        Raises:
            DiskError: the table cannot be made.
        """
        self._registry = registry
        with registry.transaction() as connection:
            metadata.create_all(connection, tables=[tokens])

    def all(self) -> list[Token]:
        """Return every token."""
        with self._registry.transaction() as connection:
            rows = connection.execute(select(tokens)).mappings().all()
        return [_token(dict(row)) for row in rows]

    def add(self, token: Token) -> None:
        """Write down a new one."""
        who = token.identity
        row = {
            "id": who.id,
            "tenant": who.tenant,
            "role": who.role.value,
            "pipelines": None if who.pipelines is None else json.dumps(sorted(who.pipelines)),
            "name": token.name,
            "sha256": token.sha256.hex(),
            "created": token.created.isoformat(),
            "expires": None if token.expires is None else token.expires.isoformat(),
        }
        with self._registry.transaction() as connection:
            connection.execute(insert(tokens).values(**row))

    def remove(self, name: str) -> None:
        """Forget one; one that is not there is fine."""
        with self._registry.transaction() as connection:
            connection.execute(delete(tokens).where(tokens.c.id == name))


def _token(row: Mapping[str, Any]) -> Token:
    named = row["pipelines"]
    identity = Identity(
        row["id"],
        row["tenant"],
        Role(row["role"]),
        None if named is None else frozenset(json.loads(named)),
    )
    expires = row["expires"]
    return Token(
        identity,
        row["name"],
        bytes.fromhex(row["sha256"]),
        datetime.fromisoformat(row["created"]),
        None if expires is None else datetime.fromisoformat(expires),
    )
