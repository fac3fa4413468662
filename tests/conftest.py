"""Hypothesis profiles of the suite: ``repo`` on a laptop, ``ci`` where ``CI`` is set."""

import os

from hypothesis import HealthCheck, Phase, settings

# Explaining a failure re-runs it under a tracer, which costs minutes before Python 3.12.
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)

settings.register_profile("repo", deadline=None, phases=_PHASES)
# CI machines are slow at odd moments: examples are neither timed nor called too slow to make.
# The same examples every time, so that a red run can be had again.
settings.register_profile(
    "ci",
    deadline=None,
    phases=_PHASES,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") else "repo")
