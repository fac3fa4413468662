"""Registrations, and the last request of each: every call is one short transaction."""

import hashlib
import json
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Delete,
    Engine,
    Executable,
    RowMapping,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from cache_protocol.errors import DiskError, MalformedError
from cache_server.catalogue.tables import metadata, pipelines, requests, vouched
from cache_server.core.content import ModelSpec
from cache_server.core.tenants import Terms

UPSERTS: dict[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


class Key(NamedTuple):
    """What a pipeline is known by everywhere."""

    tenant: str
    id: str


@dataclass(frozen=True, slots=True)
class Registration:
    """One pipeline as the operator wants it."""

    key: Key
    models: tuple[ModelSpec, ...]
    pinned: bool = False
    vouched: bool = False  # an admin registered it

    @property
    def terms(self) -> Terms:
        """On what terms its origins are opened."""
        return Terms(self.key.tenant, self.vouched)

    @property
    def spec(self) -> str:
        """A digest of the models: content that was resolved from other models is stale."""
        canonical = json.dumps([m.words() for m in self.models], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]


class Registry:
    """The database, by default SQLite beside the slots. Safe for threads."""

    def __init__(self, url: str) -> None:
        """Open the database and create missing tables.

        Raises:
            MalformedError: ``url`` is none, or its database has no driver here.
            DiskError: it cannot be opened or is no database.
        """
        self._engine = _engine(url)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _configure_sqlite)
        with self.transaction() as connection:
            metadata.create_all(connection)

    def all(self) -> dict[Key, Registration]:
        """Return every registration."""
        with self.transaction() as connection:
            rows = connection.execute(select(pipelines)).mappings().all()
            trusted = {Key(*row) for row in connection.execute(select(vouched))}
        return {r.key: r for r in (_registration(row, trusted) for row in rows)}

    def last_requests(self) -> dict[Key, datetime]:
        """Return when each pipeline was last asked for, as far as it was written down."""
        with self.transaction() as connection:
            rows = connection.execute(select(requests)).all()
        return {Key(tenant, name): datetime.fromisoformat(last) for tenant, name, last in rows}

    def put(self, registration: Registration, now: datetime) -> None:
        """Write a registration, new or changed."""
        key, stamp = registration.key, now.isoformat()
        fields = {
            "models": json.dumps([m.words() for m in registration.models]),
            "pinned": registration.pinned,
            "updated": stamp,
        }
        with self.transaction() as connection:
            changed = connection.execute(
                update(pipelines)
                .where(pipelines.c.tenant == key.tenant, pipelines.c.id == key.id)
                .values(fields)
            )
            if not changed.rowcount:
                connection.execute(
                    insert(pipelines).values(tenant=key.tenant, id=key.id, created=stamp, **fields)
                )
            connection.execute(_row_of(vouched, key))
            if registration.vouched:
                connection.execute(insert(vouched).values(tenant=key.tenant, id=key.id))

    def remove(self, key: Key) -> None:
        """Forget a pipeline; one that is not there is fine."""
        with self.transaction() as connection:
            for table in (pipelines, requests, vouched):
                connection.execute(_row_of(table, key))

    def touch(self, stamps: Mapping[Key, datetime]) -> None:
        """Write down last requests, all in one transaction."""
        if not stamps:
            return
        rows = [
            {"tenant": k.tenant, "id": k.id, "last": at.isoformat()} for k, at in stamps.items()
        ]
        with self.transaction() as connection:
            connection.execute(self._upsert_requests(), rows)

    def _upsert_requests(self) -> Executable:
        """Return one statement for a whole batch: row by row takes twenty times as long."""
        write = UPSERTS[self._engine.dialect.name](requests)
        return write.on_conflict_do_update(
            index_elements=[requests.c.tenant, requests.c.id], set_={"last": write.excluded.last}
        )

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def transaction(self) -> AbstractContextManager[Connection]:
        """Begin a transaction, also for tables that stand beside ours.

        Raises:
            DiskError: the database failed, at any point of it.
        """
        return _transaction(self._engine.begin())


def _engine(url: str) -> Engine:
    try:
        engine = create_engine(url)
    except ImportError as error:
        raise MalformedError(f"the database URL cannot be used: {error}") from error
    # Not with the library's words: they repeat what it took for a port, or more.
    except (ArgumentError, ValueError):
        raise MalformedError(
            "the database URL cannot be read; write postgresql://user:password@host:5432/name, "
            "with %40 for an @ in the password"
        ) from None
    if engine.dialect.name not in UPSERTS:
        known = " or ".join(UPSERTS)
        raise MalformedError(f"the database is {engine.dialect.name}, and not {known}")
    return engine


@contextmanager
def _transaction(begun: AbstractContextManager[Connection]) -> Iterator[Connection]:
    try:
        with begun as connection:
            yield connection
    except SQLAlchemyError as error:
        # The first line alone: the rest repeats the statement with its values.
        raise DiskError(f"the database failed: {str(error).splitlines()[0]}") from error


def _configure_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
    # WAL lets readers and the writer go on side by side; FULL keeps a commit through a power cut.
    # Touches share the setting: they come in batches, a few commits a minute (357 commits/s fit).
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=5000")


def _row_of(table: Table, key: Key) -> Delete:
    """Return the statement that deletes the row of ``key``."""
    return delete(table).where(table.c.tenant == key.tenant, table.c.id == key.id)


def _registration(row: RowMapping, trusted: Container[Key]) -> Registration:
    models = tuple(
        ModelSpec(**{**m, "include": tuple(m["include"]), "exclude": tuple(m["exclude"])})
        for m in json.loads(row["models"])
    )
    key = Key(row["tenant"], row["id"])
    return Registration(key, models, bool(row["pinned"]), vouched=key in trusted)
