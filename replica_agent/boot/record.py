"""What happened in one boot, collected from the threads that see it, told once."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock

from replica_agent.report import Boot, Phase


@dataclass(slots=True)
class Record:
    """The facts of one boot beside those of its pull. Safe for threads: they only add."""

    born: float  # ``time.monotonic()`` of our start
    started: datetime  # the same instant
    phases: list[Phase] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    source: str = "cache"
    reason: str | None = None
    recovered: bool = False
    weight_wait: float = 0.0  # seconds that the engine stood waiting for bytes
    ready: float | None = None  # ``time.monotonic()``
    told: bool = False
    _lock: Lock = field(default_factory=Lock)

    def phase(self, name: str, began: float, ended: float) -> None:
        """Add a phase between two instants of ``time.monotonic()``."""
        self.phases.append(Phase(name, began - self.born, max(0.0, ended - began)))

    def served_by(self, source: str, reason: str | None) -> None:
        """Note that ``source``, and not the cache, gave the weights, and why."""
        self.source, self.reason, self.recovered = source, reason, True

    def fail(self, reason: str) -> None:
        """Note that the engine did not get its weights, or did not live to use them."""
        if self.recovered:
            reason = f"{self.reason}; {reason}"
        elif self.reason is not None:  # the first failure is the cause of the others
            reason = self.reason
        self.reason, self.recovered = reason, False

    def once(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` unless that was done."""
        with self._lock:
            if not self.told:
                self.told = True
                tell()

    def complete(self, pull: Boot) -> Boot:
        """Return the report of the boot whose pull says ``pull``."""
        phases = sorted([*pull.phases, *self.phases], key=lambda p: p.start)
        ready = time.monotonic() if self.ready is None else self.ready
        return replace(
            pull,
            phases=tuple(phases),
            source=self.source,
            verified_bytes=0 if self.source == "origin" else pull.verified_bytes,
            reason=self.reason,
            recovered=self.recovered,
            weight_wait=self.weight_wait,
            time_to_ready=ready - self.born,
            notes=(*pull.notes, *self.notes),
        )
