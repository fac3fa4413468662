"""The plans that consumers send: the last word of each rank, no more than can be held, no lies.

A consumer is trusted with its own load, and with no memory of the agent: what is no plan of the
model that it was given is dropped, and so is what exceeds MAX_HELD, which ends nobody's load.
"""

import threading
from typing import NamedTuple

from cache_protocol.errors import CacheError, MalformedError
from cache_protocol.manifest import Model
from cache_protocol.plans import MAX_PLAN, check_files, checkpoint_digest, parse_plan
from replica_agent.handover.messages import PlanPart

MAX_HELD = 4 * MAX_PLAN  # bytes in all; eight ranks of the largest models have 30 MB together


class Source(NamedTuple):
    """Who sends a plan, and about what."""

    name: str  # of the model
    rank: int
    model: Model
    generation: str


class Sent(NamedTuple):
    """A plan that a consumer sent: the document as it came, which is one of its model."""

    model: str
    rank: int
    generation: str
    digest: str  # of its key
    document: bytes


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

    def __init__(self, plans: Plans, source: Source) -> None:
        """Gather parts from ``source``, for ``plans``."""
        self._plans = plans
        self._source = source
        self._document = bytearray()
        self._fits = True

    def add(self, part: PlanPart) -> None:
        """Take the next part; with the last one the plan is kept, if it is one.

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
        """Forget what has come of a plan that is not whole, or is none."""
        self._plans.give_back(len(self._document))
        self._document, self._fits = bytearray(), True

    def _keep(self) -> None:
        sent = self._checked(bytes(self._document)) if self._fits else None
        if sent is not None:
            self._plans.put(sent)
            self._document = bytearray()  # counted from now on as what was sent
        self.close()

    def _checked(self, document: bytes) -> Sent | None:
        """Return the plan that ``document`` is; None when it is none of the source's model."""
        name, rank, model, generation = self._source
        try:
            plan = parse_plan(document)
            check_files(plan, [(file.path, file.size) for file in model.files])
        except CacheError:  # nobody else is to follow it, and the sender's load goes on
            return None
        if (plan.key.rank, plan.key.checkpoint) != (rank, checkpoint_digest(model, generation)):
            return None
        return Sent(name, rank, generation, plan.key.digest, document)
