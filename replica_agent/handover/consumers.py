"""What is known of those who attached, and when they have all they wanted. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from replica_agent.handover.messages import Done, Outcome


@dataclass(frozen=True, slots=True)
class Consumer:
    """One load of one model by one process, as far as it is known."""

    model: str
    pid: int
    rank: int
    peers: int  # processes of this host that were said to load the model
    attached: float  # ``time.monotonic()``
    waited: float = 0.0  # seconds, once it is done
    seconds: float = 0.0  # of the whole load, once it is done
    outcome: Outcome | None = None  # None while it loads
    reason: str | None = None  # why it did not load from here
    adopted: int = 0  # bytes of parameters that are the memory it was given
    copied: str | None = None  # where a GPU copied: out of which memory
    taken: str = ""  # the generation that it was told is confirmed
    lent: int = 0  # bytes of the host's memory that it was given a shard of


def consumed(models: Iterable[str], consumers: Iterable[Consumer]) -> bool:
    """Return whether nobody loads now and every model has been loaded by all its processes."""
    known = list(consumers)
    if any(c.outcome is None for c in known):
        return False
    for model in models:
        done = [c for c in known if c.model == model and c.outcome is not Outcome.GONE]
        if len({c.pid for c in done}) < max((c.peers for c in done), default=1):
            return False
    return True


def held(consumers: Iterable[Consumer]) -> int:
    """Return the bytes of host memory, laid out for ranks, that consumers have or may yet adopt."""
    return sum(c.lent for c in consumers if c.outcome is None or c.adopted)


def fared(consumer: Consumer, done: Done) -> Consumer:
    """Return ``consumer`` with its last words."""
    return replace(
        consumer,
        waited=done.waited,
        seconds=done.seconds,
        outcome=done.outcome,
        reason=done.reason,
        adopted=done.adopted,
        copied=done.copied,
    )
