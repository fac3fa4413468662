"""One start of a replica, the way an engine would do it, then the proof that it was right.

    python -m demo.replica PIPELINE MODEL=DIRECTORY …

    exec ─ agent-start ─┬─ manifest ─┬─ pull: bytes arrive, every chunk is checked ──┐
                        └─ engine-import: torch, meanwhile ─┬─ weight-wait ──────────┴─ loaded

Prints JSON lines: ``{"arrived": bytes}`` while they do, then one with everything measured.
The comparison with what the safetensors library reads from DIRECTORY is outside of all clocks.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from replica_agent import open_pipeline

if TYPE_CHECKING:
    import torch

    from replica_agent.tensors import Pipeline

_EXEC = float(os.environ.get("DEMO_EXEC") or time.monotonic())  # when the parent started us
_EVERY = 0.1  # seconds between two lines of progress


def main(pipeline_id: str, sources: dict[str, Path]) -> None:
    """Boot, compare, report."""
    opened = _since_exec()
    with open_pipeline(pipeline_id) as pipeline, _telling(pipeline):  # the pull starts here
        import torch  # noqa: F401, PLC0415 - what an engine does for seconds, while bytes arrive

        imported = _since_exec()
        loaded = _load(pipeline, list(sources))
        ready = _since_exec()
        pipeline.wait()  # the last verdict is in; this lets the pull close its books
        report = pipeline.report()
    phases = [
        {"name": "agent-start", "start": 0.0, "seconds": opened},
        *({**phase, "start": opened + phase["start"]} for phase in report["phases"]),
        {"name": "engine-import", "start": opened, "seconds": imported - opened},
        {"name": "weight-wait", "start": imported, "seconds": ready - imported},
    ]
    _say(
        phases=phases,
        seconds=ready,
        size=report["verified_bytes"],
        tensors=sum(len(tensors) for tensors in loaded.values()),
        different=[name for m, d in sources.items() for name in _differences(loaded[m], d)],
    )


def _load(pipeline: "Pipeline", models: list[str]) -> "dict[str, dict[str, torch.Tensor]]":
    """Take every tensor as it becomes whole, all models side by side."""
    with ThreadPoolExecutor(len(models)) as pool:
        loaded = pool.map(lambda model: dict(pipeline[model].stream()), models)
        return dict(zip(models, loaded, strict=True))


@contextmanager
def _telling(pipeline: "Pipeline") -> Iterator[None]:
    """Say every now and then during the block how much has arrived and been checked."""
    ended = Event()

    def tell() -> None:
        while not ended.wait(_EVERY):
            _say(arrived=pipeline.report()["verified_bytes"])

    teller = Thread(target=tell)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def _differences(loaded: "dict[str, torch.Tensor]", directory: Path) -> Iterator[str]:
    """Yield the names of tensors that are not, bit by bit, what the library reads."""
    from safetensors import safe_open  # noqa: PLC0415 - the reference, no part of a start

    left = set(loaded)
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, "pt") as reference:
            for name in reference.keys():  # noqa: SIM118 - it is no mapping
                left.discard(name)
                if name not in loaded or not _equal(loaded[name], reference.get_tensor(name)):
                    yield name
    yield from sorted(left)  # tensors that the files do not have


def _equal(ours: "torch.Tensor", theirs: "torch.Tensor") -> bool:
    import torch  # noqa: PLC0415 - is there already

    same_kind = ours.dtype == theirs.dtype and ours.shape == theirs.shape
    # As bytes: NaN is not equal to itself, and -0.0 is equal to 0.0.
    return same_kind and torch.equal(_bytes(ours), _bytes(theirs))


def _bytes(tensor: "torch.Tensor") -> "torch.Tensor":
    import torch  # noqa: PLC0415 - is there already

    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _since_exec() -> float:
    return time.monotonic() - _EXEC


def _say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], {m: Path(d) for m, _, d in (a.partition("=") for a in sys.argv[2:])})
