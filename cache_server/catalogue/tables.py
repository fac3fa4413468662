"""The schema. Times are text, RFC 3339 UTC, so that SQLite and PostgreSQL agree on them."""

from sqlalchemy import Boolean, Column, MetaData, String, Table, Text

metadata = MetaData()

pipelines = Table(
    "pipelines",
    metadata,
    Column("tenant", String(100), primary_key=True),
    Column("id", String(100), primary_key=True),
    Column("models", Text, nullable=False),  # JSON, see registry
    Column("pinned", Boolean, nullable=False),
    Column("created", String(40), nullable=False),
    Column("updated", String(40), nullable=False),
)

# Which of them an admin registered: their origins need not be listed for the tenant. A table of its
# own, since a database that is older has none, and nobody has vouched for what is in it.
vouched = Table(
    "vouched",
    metadata,
    Column("tenant", String(100), primary_key=True),
    Column("id", String(100), primary_key=True),
)

# Apart from intent, so that a batch of touches never rewrites a registration.
requests = Table(
    "requests",
    metadata,
    Column("tenant", String(100), primary_key=True),
    Column("id", String(100), primary_key=True),
    Column("last", String(40), nullable=False),
)
