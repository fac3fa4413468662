"""The ledger of starts: what replicas reported, kept within bounds of number and of age."""

import json
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    true,
)

from cache_server.catalogue.registry import Key, Registry
from cache_server.catalogue.tables import metadata
from cache_server.core.access import ALL_TENANTS

KEPT = 1000  # reports of one pipeline; about a kilobyte each
KEPT_FOR = timedelta(days=90)
KEPT_IN_ALL = 100_000  # reports: anybody who may report may name a pipeline that nobody knows
SWEEP = 100  # reports that are too old and go with one that comes
READ_AT_ONCE = 20_000  # reports; what one question about many pipelines may cost

boots = Table(
    "boots",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("tenant", String(100), nullable=False),
    Column("pipeline", String(100), nullable=False),
    Column("received", String(40), nullable=False),
    Column("report", Text, nullable=False),  # JSON, checked before
    Index("boots_of_pipeline", "tenant", "pipeline", "number"),
)


class Boots:
    """Reports of boots, in the order in which they came. Safe for threads."""

    def __init__(
        self,
        registry: Registry,
        *,
        kept: int = KEPT,
        kept_for: timedelta = KEPT_FOR,
        kept_in_all: int = KEPT_IN_ALL,
    ) -> None:
        """Keep them beside what ``registry`` keeps.

        Args:
            registry: whose database.
            kept: reports of one pipeline.
            kept_for: how long; older ones go when others come.
            kept_in_all: reports of all pipelines; those of the tenant that has most go first.

        Raises:
            DiskError: the table cannot be made.
        """
        self._registry = registry
        self._kept = kept
        self._kept_for = kept_for
        self._kept_in_all = kept_in_all
        with registry.transaction() as connection:
            metadata.create_all(connection, tables=[boots])

    def add(self, key: Key, report: dict[str, Any], now: datetime) -> None:
        """Keep a report; the oldest ones go when there are too many."""
        row = {"tenant": key.tenant, "pipeline": key.id, "received": now.isoformat()}
        of_pipeline = (boots.c.tenant == key.tenant) & (boots.c.pipeline == key.id)
        with self._registry.transaction() as connection:
            connection.execute(insert(boots).values(**row, report=json.dumps(report)))
            _keep_last(connection, self._kept, of_pipeline)
            _keep_in_all(connection, self._kept_in_all)
            _sweep(connection, (now - self._kept_for).isoformat())

    def last(self, tenant: str, only: Collection[str] | None, limit: int) -> list[dict[str, Any]]:
        """Return the last ``limit`` reports, newest first; of all pipelines with None."""
        return self._read(_wanted(tenant, only), limit)

    def last_of_each(
        self, tenant: str, only: Collection[str] | None, limit: int
    ) -> list[dict[str, Any]]:
        """Return the last ``limit`` reports of each pipeline, newest first.

        Where that is more than READ_AT_ONCE, the oldest are left out.
        """
        place = (
            func.row_number()
            .over(
                partition_by=(boots.c.tenant, boots.c.pipeline),
                order_by=boots.c.number.desc(),
            )
            .label("place")
        )
        ranked = select(boots.c.number, place).where(_wanted(tenant, only)).subquery()
        chosen = select(ranked.c.number).where(ranked.c.place <= limit)
        return self._read(boots.c.number.in_(chosen), READ_AT_ONCE)

    def _read(self, wanted: ColumnElement[bool], limit: int) -> list[dict[str, Any]]:
        rows = select(boots.c.tenant, boots.c.received, boots.c.report).where(wanted)
        newest_first = rows.order_by(boots.c.number.desc()).limit(limit)
        with self._registry.transaction() as connection:
            found = connection.execute(newest_first).all()
        return [
            {**json.loads(row.report), "tenant": row.tenant, "received": row.received}
            for row in found
        ]


def _wanted(tenant: str, only: Collection[str] | None) -> ColumnElement[bool]:
    of_tenant = true() if tenant == ALL_TENANTS else boots.c.tenant == tenant
    return of_tenant if only is None else of_tenant & boots.c.pipeline.in_(only)


def _keep_last(connection: Connection, count: int, which: ColumnElement[bool]) -> None:
    """Delete all but the last ``count`` rows of ``which``."""
    newest = select(boots.c.number).where(which).order_by(boots.c.number.desc())
    last = connection.execute(newest.offset(count).limit(1)).scalar()
    if last is not None:
        connection.execute(delete(boots).where(which, boots.c.number <= last))


def _keep_in_all(connection: Connection, count: int) -> None:
    """Delete what is above ``count`` rows: the oldest of the tenant that has most.

    Not the oldest of all: a tenant that reports without end would push out those of others.
    """
    of_tenants = select(boots.c.tenant, func.count().label("rows")).group_by(boots.c.tenant)
    kept: dict[str, int] = {row.tenant: row.rows for row in connection.execute(of_tenants)}
    excess = sum(kept.values()) - count
    if excess > 0:
        most = max(kept, key=lambda tenant: kept[tenant])
        _keep_last(connection, max(kept[most] - excess, 0), boots.c.tenant == most)


def _sweep(connection: Connection, oldest: str) -> None:
    """Delete what was received before ``oldest``, a few at a time: nobody waits for a big sweep.

    Numbers rise with time, so what is too old is found at the front, without an index on times.
    """
    front = select(boots.c.number, boots.c.received).order_by(boots.c.number).limit(SWEEP)
    old = [row.number for row in connection.execute(front) if row.received < oldest]
    if old:
        connection.execute(delete(boots).where(boots.c.number.in_(old)))
