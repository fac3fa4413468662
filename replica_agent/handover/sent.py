"""The plans that consumers send: the last word of each rank, as it came, while it can be held.

Nobody looks into them here: to parse megabytes would take the interpreter from the lanes. A
consumer is trusted with its own load, and with no memory of the agent: what exceeds MAX_HELD is
dropped, which ends nobody's load.
"""

import threading
from typing import NamedTuple

from cache_protocol.errors import MalformedError
from cache_protocol.plans import MAX_PLAN
from replica_agent.handover.messages import PlanPart

MAX_HELD = 4 * MAX_PLAN  # bytes in all; eight ranks of the largest models have 30 MB together


class Sent(NamedTuple):
    """What a consumer sent as its plan of the memory that it was given."""

    model: str
    rank: int
    generation: str
    checkpoint: str  # digest, as the sender was told it
    document: bytes = b""


class Plans:
    """All that were sent. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = 0  # bytes, of documents that are not whole as well
        self._sent: dict[tuple[str, int], Sent] = {}  # by model and rank

    @property
    def all(self) -> tuple[Sent, ...]:
        """The last word of each rank."""
        with self._lock:
            return tuple(self._sent.values())

    def take(self, size: int) -> bool:
        """Return whether ``size`` bytes more may be held, and count them then."""
        with self._lock:
            fits = self._held + size <= MAX_HELD
            self._held += size if fits else 0
            return fits

    def give_back(self, size: int) -> None:
        """Count ``size`` bytes no more."""
        with self._lock:
            self._held -= size

    def put(self, sent: Sent) -> None:
        """Keep ``sent``, whose bytes are counted, in the place of what its rank sent before."""
        with self._lock:
            before = self._sent.pop((sent.model, sent.rank), None)
            self._sent[sent.model, sent.rank] = sent
            self._held -= len(before.document) if before else 0


class Incoming:
    """The plan that one consumer sends, in parts. Close it: what is not whole is dropped."""

    def __init__(self, plans: Plans, nothing: Sent) -> None:
        """Gather the document of what is ``nothing`` yet, for ``plans``."""
        self._plans = plans
        self._nothing = nothing
        self._document = bytearray()
        self._fits = True

    def add(self, part: PlanPart) -> None:
        """Take the next part; with the last one the plan is kept, if there was room for all.

        Raises:
            MalformedError: it has more bytes than any plan.
        """
        size = len(part.text)
        if len(self._document) + size > MAX_PLAN:
            raise MalformedError(f"a plan of more than {MAX_PLAN} bytes")
        self._fits = self._fits and self._plans.take(size)
        if self._fits:
            self._document += part.text.encode()
        if part.last:
            self._keep()

    def close(self) -> None:
        """Forget what has come of a plan that is not whole."""
        self._plans.give_back(len(self._document))
        self._document, self._fits = bytearray(), True

    def _keep(self) -> None:
        if self._fits:
            self._plans.put(self._nothing._replace(document=bytes(self._document)))
            self._document = bytearray()  # counted from now on as what was sent
        self.close()
