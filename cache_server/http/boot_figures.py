"""What is shown of many boots: the JSON of ``GET /v1/boots/stats``."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cache_server.core.boot_stats import BootStats, Regression, Spread


def stats_view(stats: BootStats) -> dict[str, Any]:
    """Return the figures of one group as the contract names them."""
    return {
        **stats.group._asdict(),
        "boots": stats.boots,
        "failed": stats.failed,
        "sources": dict(stats.sources),
        "time_to_ready": _spread(stats.time_to_ready),
        "weight_wait": _spread(stats.weight_wait),
        "phases": [{"name": name, **_rounded(found)} for name, found in stats.phases.items()],
        "regression": _regression(stats.regression),
    }


def _spread(spread: Spread | None) -> dict[str, float] | None:
    return None if spread is None else _rounded(spread)


def _rounded(spread: Spread) -> dict[str, float]:
    return {name: round(seconds, 6) for name, seconds in asdict(spread).items()}


def _regression(found: Regression | None) -> Mapping[str, Any] | None:
    if found is None:
        return None
    return {
        "before": round(found.before, 6),
        "now": round(found.now, 6),
        "phase": found.phase,
        "phase_before": round(found.phase_before, 6),
        "phase_now": round(found.phase_now, 6),
    }
