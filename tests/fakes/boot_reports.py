"""What an agent tells of a start."""

from typing import Any


def boot_report(time: float = 1.0, **fields: Any) -> dict[str, Any]:
    """Return the report of a start that took ``time`` seconds.

    ``phases`` may be given as ``{name: (start, seconds)}``.
    """
    phases = fields.pop("phases", {})
    plain = {
        "pipeline": "voice",
        "host": "gpu-1",
        "device": "cuda:0",
        "start_path": "cold",
        "ok": True,
        "started": "2026-01-01T00:00:00Z",
        "bytes": 1000,
        "verified_bytes": 1000,
        "source": "cache",
        "weight_wait": 0.5,
        "time_to_ready": time,
    }
    drawn = [{"name": n, "start": s, "seconds": t} for n, (s, t) in phases.items()]
    return plain | {"phases": drawn} | fields
