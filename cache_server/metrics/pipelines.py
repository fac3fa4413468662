"""How each registered pipeline stands, and what its last start cost.

The only labels that grow with use are tenant and pipeline: a registration is an operator's act and
can be bounded by a quota, and a graph that cannot name the pipeline answers no question. What a
replica alone can make up (a pipeline that nobody registered, a phase of its own) becomes no series.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.core import Metric

from cache_server.catalogue.registry import Key
from cache_server.metrics.boots import phase_label
from cache_server.metrics.families import gauges
from cache_server.metrics.last_boots import LastBoot
from cache_server.service.glance import Glance

LABELS = ("tenant", "pipeline")


def pipeline_families(glances: Sequence[Glance]) -> Iterator[Metric]:
    """Return how pipelines stand."""

    def each(name: str, text: str, value: Callable[[Glance], float | None]) -> Metric:
        values = [(g.key, v) for g in glances if (v := value(g)) is not None]
        return gauges(f"pipeline_{name}", text, LABELS, values)

    yield each("warm", "Whether all of it is on disk and verified.", lambda g: g.warm)
    yield each("pinned", "Whether the policy may never evict it.", lambda g: g.pinned)
    yield each("hot", "Whether it was requested within the hot window.", lambda g: g.hot)
    yield each("size_bytes", "Bytes of its files, once they are known.", lambda g: g.size)
    yield each("filled_bytes", "Bytes of its fill that are there.", _filled)
    yield each("readers", "Replicas that read it now.", lambda g: g.readers)
    yield each(
        "failing", "Whether its last fill failed, or it is withheld.", lambda g: g.error is not None
    )
    yield each(
        "last_request_timestamp_seconds",
        "When it was last requested.",
        lambda g: g.asked.timestamp() if g.asked else None,
    )


def _filled(glance: Glance) -> float | None:
    return None if glance.fill is None else glance.fill.filled


def last_boot_families(
    glances: Sequence[Glance], last_boots: Mapping[Key, LastBoot]
) -> Iterator[Metric]:
    """Return what last starts of pipelines cost."""
    known = [(g.key, last_boots[g.key]) for g in glances if g.key in last_boots]
    yield gauges(
        "pipeline_last_boot_timestamp_seconds",
        "When the report of its last start came.",
        LABELS,
        [(key, boot.at.timestamp()) for key, boot in known],
    )
    yield gauges(
        "pipeline_last_boot_seconds",
        "Time from its last start until it was ready.",
        LABELS,
        [(key, boot.ready) for key, boot in known],
    )
    yield gauges(
        "pipeline_last_boot_phase_seconds",
        "Time that a phase of its last start took.",
        (*LABELS, "phase"),
        [((*key, phase), seconds) for key, boot in known for phase, seconds in boot.phases.items()],
    )
    yield gauges(
        "pipeline_boot_regression_seconds",
        "How much longer its last 10 starts took than the 50 before, where that is no chance.",
        (*LABELS, "phase"),
        [
            ((*key, phase_label(slower.phase or "")), slower.growth)
            for key, boot in known
            if (slower := boot.regression) is not None
        ],
    )
