"""How much of the node's room each tenant has, and may have."""

from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric

from cache_server.core.tenants import QuotasOf
from cache_server.metrics.families import gauges
from cache_server.service.glance import Glance


def tenant_families(glances: Sequence[Glance], quotas: QuotasOf) -> Iterator[Metric]:
    """Return the room of every tenant that has a pipeline."""
    used: Counter[str] = Counter()
    for glance in glances:
        used[glance.key.tenant] += glance.booked
    limits = [(tenant, quotas(tenant).bytes) for tenant in used]
    yield gauges(
        "tenant_used_bytes",
        "Room that is booked for pipelines of a tenant.",
        ("tenant",),
        [((tenant,), size) for tenant, size in used.items()],
    )
    yield gauges(
        "tenant_quota_bytes",
        "Room that a tenant may have, where that is limited.",
        ("tenant",),
        [((tenant,), limit) for tenant, limit in limits if limit is not None],
    )
