"""A Hugging Face hub for the benchmarks: the suite's stand-in, as a process of its own.

A repository is a directory below the stand-in's root. What it has sent is counted by itself.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from benchmarks.children import serving

OWNER = "bench"


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub that listens."""

    url: str

    def source(self, name: str) -> str:
        """Return how the repository ``name`` is registered with a node."""
        return f"hf://{OWNER}/{name}"

    def file_urls(self, name: str, files: list[Path]) -> list[str]:
        """Return where the weight files of the repository ``name`` are downloaded from."""
        return [f"{self.url}/{OWNER}/{name}/resolve/main/{path.name}" for path in files]

    def sent(self) -> int:
        """Return the bytes of file content that it has sent since it started."""
        with urlopen(f"{self.url}/_sent", timeout=10) as answer:  # noqa: S310 - our own URL
            count: int = json.load(answer)["bytes"]
            return count


@contextmanager
def running_hub(root: Path, models: dict[str, Path], rate: str | None = None) -> Iterator[Hub]:
    """Offer ``models``, name to directory, for the length of the block.

    Args:
        root: an empty directory for the stand-in.
        models: what each repository holds.
        rate: most that it sends over all connections, e.g. ``200MB`` a second.
    """
    for name, directory in models.items():
        repository = root / OWNER / name
        repository.parent.mkdir(parents=True, exist_ok=True)
        repository.symlink_to(directory, target_is_directory=True)
    limit = ["--rate", rate] if rate else []
    with serving("tests.fakes.hub", "--root", root, *limit) as line:
        yield Hub(line)
