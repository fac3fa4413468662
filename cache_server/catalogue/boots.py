"""What replicas reported about their starts; the last ones of each pipeline are kept."""

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, Integer, String, Table, Text, delete, insert, select, true

from cache_server.catalogue.registry import Key, Registry
from cache_server.catalogue.tables import metadata
from cache_server.core.access import ALL_TENANTS

KEPT = 1000  # reports of one pipeline; about a kilobyte each

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

    def __init__(self, registry: Registry, *, kept: int = KEPT) -> None:
        """Keep them beside what ``registry`` keeps; at most ``kept`` per pipeline.

        Raises:
            DiskError: the table cannot be made.
        """
        self._registry = registry
        self._kept = kept
        with registry.transaction() as connection:
            metadata.create_all(connection, tables=[boots])

    def add(self, key: Key, report: dict[str, Any], now: datetime) -> None:
        """Keep a report; the oldest one goes when there are too many."""
        row = {"tenant": key.tenant, "pipeline": key.id, "received": now.isoformat()}
        of_pipeline = (boots.c.tenant == key.tenant) & (boots.c.pipeline == key.id)
        newest = select(boots.c.number).where(of_pipeline).order_by(boots.c.number.desc())
        with self._registry.transaction() as connection:
            connection.execute(insert(boots).values(**row, report=json.dumps(report)))
            last = connection.execute(newest.offset(self._kept).limit(1)).scalar()
            if last is not None:
                connection.execute(delete(boots).where(of_pipeline, boots.c.number <= last))

    def last(self, tenant: str, only: Collection[str] | None, limit: int) -> list[dict[str, Any]]:
        """Return the last ``limit`` reports, newest first; of all pipelines with None."""
        of_tenant = true() if tenant == ALL_TENANTS else boots.c.tenant == tenant
        wanted = select(boots.c.tenant, boots.c.received, boots.c.report).where(of_tenant)
        if only is not None:
            wanted = wanted.where(boots.c.pipeline.in_(only))
        with self._registry.transaction() as connection:
            rows = connection.execute(wanted.order_by(boots.c.number.desc()).limit(limit)).all()
        return [
            {**json.loads(row.report), "tenant": row.tenant, "received": row.received}
            for row in rows
        ]
