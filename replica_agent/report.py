"""Say how long each phase of a start took: as the JSON of a boot report, and for people.

The fields are the contract's; nothing here measures.
"""

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cache_protocol.units import show_size

# What a node takes of one report; a pipeline may have a hundred models, each with something to say.
MAX_NOTES = 20
MAX_TEXT = 4096  # characters of a note, or of the reason


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of a start."""

    name: str  # of the contract: agent-start, manifest, pull, …
    start: float  # seconds after the start
    seconds: float


@dataclass(frozen=True, slots=True)
class Boot:
    """One start, over or failed."""

    pipeline: str
    device: str  # what received the bytes: cpu, cuda:0, files
    started: datetime  # UTC
    phases: Sequence[Phase]
    bytes: int  # of the pipeline; 0 when the manifest never came
    verified_bytes: int
    weight_wait: float  # seconds that somebody waited for weights and did nothing else
    time_to_ready: float  # seconds from the start to the end of the last phase
    reason: str | None = None  # why it failed, or why it was not the cache that served
    source: str = "cache"  # who served the bytes: cache, pass-through, origin
    recovered: bool = False  # the engine got its weights in spite of ``reason``
    notes: Sequence[str] = ()  # what an operator should know besides
    request_id: str | None = None  # by which the node's log knows this start
    local_bytes: int = 0  # that were read from the node's files on this host, not over the network

    @property
    def ok(self) -> bool:
        """Whether the weights came."""
        return self.reason is None or self.recovered


def to_json(boot: Boot) -> dict[str, Any]:
    """Return ``boot`` as the fields of a boot report."""
    fields: dict[str, Any] = {
        "pipeline": boot.pipeline,
        "host": socket.gethostname(),
        "device": boot.device,
        "start_path": "cold",
        "ok": boot.ok,
        "started": boot.started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "phases": [_phase(p) for p in boot.phases],
        "bytes": boot.bytes,
        "verified_bytes": boot.verified_bytes,
        "source": boot.source,
        "weight_wait": round(boot.weight_wait, 6),
        "time_to_ready": round(boot.time_to_ready, 6),
    }
    if boot.reason is not None:
        fields["reason"] = _cut(boot.reason)
    if boot.notes:
        fields["notes"] = _fitting(boot.notes)
    if boot.local_bytes:
        fields["local_bytes"] = boot.local_bytes
    if boot.request_id is not None:
        fields["request_id"] = boot.request_id
    return fields


def noted(said: Iterable[tuple[str, str]]) -> list[str]:
    """Return a note for each thing that is said, of all models of which it is, in that order.

    ``said`` are models and words: ``[("llm", "late"), ("tts", "late")]`` is ``["llm, tts: late"]``.
    """
    names: dict[str, dict[str, None]] = {}
    for name, words in said:
        names.setdefault(words, {})[name] = None
    return [f"{', '.join(of)}: {words}" for words, of in names.items()]


def to_table(boot: Boot) -> str:
    """Return ``boot`` as lines of text, a row per phase."""
    rows = [("phase", "start", "seconds", "")]
    rows += [(p.name, f"{p.start:.3f}", f"{p.seconds:.3f}", _rate(p, boot)) for p in boot.phases]
    # Without success there was no such moment: the time is that of the end.
    rows.append(("ready" if boot.ok else "ended", "", f"{boot.time_to_ready:.3f}", ""))
    return "\n".join([*_aligned(rows), *_remarks(boot)])


def _remarks(boot: Boot) -> Iterable[str]:
    if boot.source != "cache":
        yield f"source: {boot.source}"
    if boot.reason is not None:
        yield f"reason: {boot.reason}"
    if boot.local_bytes:
        yield f"read on this host: {show_size(boot.local_bytes)} of the node's own files"
    yield from (f"note: {note}" for note in boot.notes)


def _fitting(notes: Sequence[str]) -> list[str]:
    fit = notes if len(notes) <= MAX_NOTES else notes[: MAX_NOTES - 1]
    left = len(notes) - len(fit)
    rest = [f"{left} more notes are left out: the agent printed all of them"] if left else []
    return [*map(_cut, fit), *rest]


def _cut(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    end = f"… (of {len(text)} characters)"
    return text[: MAX_TEXT - len(end)] + end


def _phase(phase: Phase) -> dict[str, Any]:
    return {
        "name": phase.name,
        "start": round(phase.start, 6),
        "seconds": round(phase.seconds, 6),
    }


def _rate(phase: Phase, boot: Boot) -> str:
    if phase.name != "pull" or not phase.seconds or not boot.verified_bytes:
        return ""
    rate = show_size(boot.verified_bytes / phase.seconds)
    return f"{show_size(boot.verified_bytes)} verified, {rate}/s"


def _aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [f"{a:<13} {b:>8} {c:>8}  {d}".rstrip() for a, b, c, d in rows]
