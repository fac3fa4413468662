"""All metrics of a node as Prometheus reads them. Made when somebody asks, from what is so then."""

from collections.abc import Callable, Iterator
from heapq import nlargest
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from cache_server.catalogue.boots import Boots
from cache_server.catalogue.registry import Key
from cache_server.core.access import ALL_TENANTS
from cache_server.core.attempts import FailedAttempts
from cache_server.metrics.boots import BootTimes
from cache_server.metrics.families import counter
from cache_server.metrics.lanes import LaneCounts, lane_families
from cache_server.metrics.last_boots import LastBoots
from cache_server.metrics.node import node_families
from cache_server.metrics.pipelines import last_boot_families, pipeline_families
from cache_server.metrics.requests import RequestTimes
from cache_server.metrics.tenants import tenant_families
from cache_server.service.glance import Glance
from cache_server.service.service import Service

# That have series of their own, the last requested ones: about 16 each; a scrape of 2000 pipelines
# takes 0.3 s of one core and 2.7 MB.
MAX_PIPELINES = 5000


class Metrics(Collector):
    """What is counted of one node. Safe for threads, but for ``requests``, see there."""

    def __init__(
        self,
        service: Service,
        boots: Boots,
        attempts: FailedAttempts,
        lanes: Callable[[], LaneCounts] | None = None,
    ) -> None:
        """Look at these; without ``lanes`` nothing is said of the data plane."""
        self.requests = RequestTimes()
        self._service = service
        self._attempts = attempts
        self._lanes = lanes
        self._boot_times = BootTimes()
        self._last_boots = LastBoots(boots)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def count_boot(self, key: Key, report: dict[str, Any]) -> None:
        """Take note of a start that was reported, and is kept."""
        self._boot_times.observe(report)
        self._last_boots.changed(key)

    def text(self) -> bytes:
        """Return everything, in the text format.

        Raises:
            DiskError: the ledger of boots cannot be read.
        """
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Implement prometheus_client's ``Collector``."""
        glances = self._service.figures.glances(ALL_TENANTS)
        yield from node_families(self._service, glances)
        if self._lanes is not None:
            yield from lane_families(self._lanes())
        failed = self._attempts
        yield counter("failed_attempts", "Calls with a token that is none.", failed.total)
        yield counter("limited_attempts", "Of these, what was told to wait.", failed.limited)
        yield from self.requests.families()
        yield from self._boot_times.families()
        yield from tenant_families(glances, self._service.options.quotas)
        shown = nlargest(MAX_PIPELINES, glances, key=_asked)
        yield from pipeline_families(shown)
        yield from last_boot_families(shown, self._last_boots.read({g.key for g in shown}))


def _asked(glance: Glance) -> float:
    return glance.asked.timestamp() if glance.asked else 0.0
