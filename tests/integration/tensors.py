"""Load a pipeline's tensors and compare each with what the safetensors library reads.

python -m tests.integration.tensors PIPELINE MODEL=DIRECTORY …
prints {"tensors": n, "different": ["model/name", …]}
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file

from replica_agent import open_pipeline
from replica_agent.tensors import LoadedModel


def main(pipeline_id: str, sources: dict[str, Path]) -> None:
    """Load every model of ``sources``, as a dictionary and as a stream."""
    different: list[str] = []
    count = 0
    with open_pipeline(pipeline_id) as pipeline:
        for model, directory in sources.items():
            truth = _truth(directory)
            count += len(truth)
            different += [f"{model}/{n}" for n in _differences(pipeline[model], truth)]
    print(json.dumps({"tensors": count, "different": different}))


def _truth(directory: Path) -> dict[str, torch.Tensor]:
    return {
        name: tensor
        for file in sorted(directory.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def _differences(model: LoadedModel, truth: dict[str, torch.Tensor]) -> Iterator[str]:
    for loaded in (dict(model.stream()), model.state_dict()):
        yield from loaded.keys() ^ truth.keys()
        yield from (n for n in truth if n in loaded and not _same(loaded[n], truth[n]))


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    alike = one.dtype == other.dtype and one.shape == other.shape
    return alike and torch.equal(one, other)


if __name__ == "__main__":
    main(sys.argv[1], {m: Path(d) for m, _, d in (a.partition("=") for a in sys.argv[2:])})
