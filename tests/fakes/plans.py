"""Plans of checkpoints that tests make up: few files, few parameters, every part in use."""

from dataclasses import replace
from typing import Any

from cache_protocol.plans import Kept, Key, Parameter, Piece, Plan, PlannedFile

KEY = Key("0" * 32, "vllm", "0.11.0", "cpu", "tp2", 2, 0, "bfloat16", "")


def plan(*, files: dict[str, int] | None = None, **key: Any) -> Plan:
    """Return a plan that reads columns, rows and a tail of the first of ``files``."""
    sizes = {"model.safetensors": 4096} if files is None else files
    first = next(iter(sizes.values()))
    return Plan(
        replace(KEY, **key),
        tuple(PlannedFile(path, size) for path, size in sizes.items()),
        (Parameter("a.weight", "BF16", (8, 64)), Parameter("b.weight", "F32", (32,))),
        (
            Piece(0, 64, 0, 0, 64, 8, 128, 128),
            Piece(0, 128, 0, 64, 64, 8, 128, 128),
            Piece(0, 1088, 1, 0, 128, 1, 128, 128),
        ),
        (Kept(0, 0, 64), Kept(0, first - 8, first)),
    )
