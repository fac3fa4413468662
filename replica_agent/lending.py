"""What the hand-over needs of the memory that it hands to an engine's process, of whatever kind.

The two know each other by this, as lanes know arenas by ``ports``.
"""

from typing import NamedTuple, Protocol, runtime_checkable


class SharedArena(Protocol):
    """A model in memory, or in a file, that another process can map."""

    @property
    def places(self) -> list[int]:
        """Where each file begins, in the order of the manifest, and where the last one ends."""
        ...

    def lend(self) -> int:
        """Return a descriptor of the files' memory that nobody can write through; the caller's.

        Raises:
            GenerationGoneError: the arena was closed.
            OSError: this process has no descriptor left.
        """
        ...

    def seal(self) -> None:
        """Keep everybody from writing to what is confirmed, while another thread may close it."""
        ...


class ShardWords(NamedTuple):
    """A rank's own memory, which holds its parameters as a plan lays them out."""

    plan: str  # fingerprint
    size: int  # bytes
    device: str = ""  # UUID of the GPU that it is on; "" in host memory


class Lent(NamedTuple):
    """A rank's memory, as it is handed over."""

    words: ShardWords
    fd: int  # belongs to whoever asked


@runtime_checkable
class LaidOut(SharedArena, Protocol):
    """A model whose planned parameters are in the memory of each rank that has them.

    The arena's own memory has only what the ranks' plans keep: no one can load from it alone.
    """

    def shard(self, rank: int) -> Lent | None:
        """Return the memory of ``rank``, or None when no plan is about it; raises as ``lend``."""
        ...
