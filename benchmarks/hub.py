"""A Hugging Face hub for the benchmarks: the suite's stand-in, as a process of its own.

    python -m benchmarks.hub ROOT [RATE]     prints its URL, then an answer to every line: to
                                             "sent" how many bytes of content it has sent so far,
                                             to "asked" how many requests it was asked

A repository is a directory ``ROOT/<owner>/<name>/``.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.node import REPOSITORY, NodeError, clean_environment, stop
from cache_protocol.units import parse_size

OWNER = "bench"


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub that listens."""

    url: str
    process: "subprocess.Popen[str]"

    def source(self, name: str) -> str:
        """Return how the repository ``name`` is registered with a node."""
        return f"hf://{OWNER}/{name}"

    def file_urls(self, name: str, files: list[Path]) -> list[str]:
        """Return where the weight files of the repository ``name`` are downloaded from."""
        return [f"{self.url}/{OWNER}/{name}/resolve/main/{path.name}" for path in files]

    def sent(self) -> int:
        """Return the bytes of file content that it has sent since it started."""
        return self._count("sent")

    def asked(self) -> int:
        """Return how many requests it was asked since it started, those to its CDN included."""
        return self._count("asked")

    def _count(self, what: str) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextmanager
def running_hub(root: Path, models: dict[str, Path], rate: str | None = None) -> Iterator[Hub]:
    """Offer ``models``, name to directory, for the length of the block.

    Args:
        root: a directory for the stand-in, which remembers there what it knows of the files.
        models: what each repository holds.
        rate: most bytes a second that it sends over all connections, e.g. ``200MB``.
    """
    for name, directory in models.items():
        repository = root / OWNER / name
        repository.parent.mkdir(parents=True, exist_ok=True)
        if not repository.exists():
            repository.symlink_to(directory, target_is_directory=True)
    command = [sys.executable, "-m", "benchmarks.hub", str(root), *([rate] if rate else [])]
    process = subprocess.Popen(
        command,
        env=clean_environment(),
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                raise NodeError(f"the hub ended with {process.wait()} before it listened")
            yield Hub(url, process)
        finally:
            stop(process)


def _serve(root: Path, rate: int | None) -> None:
    from tests.fakes.hub import Hub as StandIn  # noqa: PLC0415 - only in the child
    from tests.fakes.hub_content import repositories_below  # noqa: PLC0415

    with StandIn(root, rate=rate) as hub:
        hub.repositories = repositories_below(root)
        print(hub.endpoint, flush=True)
        for line in sys.stdin:
            asked = line.strip() == "asked"
            print(len(hub.log) if asked else sum(hub.sent.values()), flush=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), parse_size(sys.argv[2]) if sys.argv[2:] else None)
