"""All ranks of a model have one generation: who comes late to it fails, or goes where it still is.

    rank 0   confirmed g1 ── loaded
    rank 1   refuses g1's memory ── the node has g2 by now ── given nothing: half a model of each
                                                              would be wrong, without any error

Pure: the caller knows which processes live.
"""

from collections.abc import Callable, Iterable
from typing import Any

from cache_protocol.errors import IntegrityError, to_problem
from replica_agent.handover.consumers import Consumer
from replica_agent.handover.messages import Outcome

_TAKEN = "taken"  # of a problem document: the generation that other ranks have


class MixedError(IntegrityError):
    """Other ranks of this model have another generation than the one that is there now."""

    def __init__(self, detail: str, taken: str) -> None:
        super().__init__(detail)
        self.taken = taken  # generation of the other ranks: the only one that is right


def check_one_generation(
    known: Iterable[Consumer], of: Consumer, generation: str, alive: Callable[[int], bool]
) -> None:
    """Return if ``of`` may have ``generation``, too.

    What it had itself before is void with its new load. A process that has ended has nothing,
    so that an engine which starts again takes what is there.

    Raises:
        MixedError: another rank of the model has confirmed content of another generation.
    """
    for other in known:
        took = other.taken if other.outcome in (None, Outcome.LOADED) else ""
        if (
            took not in ("", generation)
            and other.model == of.model
            and other.rank != of.rank
            and alive(other.pid)
        ):
            raise MixedError(
                f"rank {of.rank} of {of.model} is not given generation {generation}: rank "
                f"{other.rank} has {took}, and the node has moved on; start the engine again",
                took,
            )


def mixed_problem(error: MixedError) -> dict[str, Any]:
    """Return the problem document of ``error``."""
    return {**to_problem(error, 0), _TAKEN: error.taken}


def mixed_error(problem: dict[str, Any]) -> MixedError | None:
    """Return the error that ``problem`` is about; None for all others."""
    taken = problem.get(_TAKEN)
    return MixedError(str(problem.get("detail")), taken) if isinstance(taken, str) else None
