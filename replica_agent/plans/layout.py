"""The words for how an engine shares a model out, the same on both sides of a boot. Pure.

The agent makes them from the engine's command line, before the engine exists; the engine makes
them from its own configuration. A plan is found when they are equal.
"""

from typing import NamedTuple

VLLM = "vllm"  # what plans call the engine


class Layout(NamedTuple):
    """How ranks share a model."""

    tensor: int  # ranks that share each layer
    pipeline: int  # groups of them that share the layers
    experts: bool  # whether ranks have whole experts instead of a part of each

    @property
    def ranks(self) -> int:
        """How many there are."""
        return self.tensor * self.pipeline

    @property
    def words(self) -> str:
        """What plans call it: "tp2", "tp2 pp2 ep"."""
        pipeline = f" pp{self.pipeline}" if self.pipeline > 1 else ""
        return f"tp{self.tensor}{pipeline}{' ep' if self.experts else ''}"
