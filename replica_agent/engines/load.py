"""One load of one model out of the agent's memory, for an engine that can feed its model.

    plain       tensors are fed as they become whole
    laid out    parameters become views of the rank's memory; what the plan keeps is fed

Knows no engine. The engine gives a ``feed``, which takes ``(name, tensor)`` pairs and may be
called again: what was fed is void until every file is confirmed. So is what was adopted; and
whatever speaks against it ends in a plain load.
"""

import time
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Self

from cache_protocol.errors import CacheError, GenerationGoneError, MalformedError
from replica_agent.engines.checkpoint import INDEX, weight_files
from replica_agent.engines.planned import Planning, RefusedError, memory_of
from replica_agent.handover.client import Attached, Shard, connect
from replica_agent.handover.messages import Outcome
from replica_agent.handover.place import Place

if TYPE_CHECKING:
    import torch

    Weights = Iterator[tuple[str, torch.Tensor]]
    # What is fed, and the parameters that have their content already.
    Feed = Callable[[Weights, Collection[str]], object]

ATTEMPTS = 3  # to load a model whose content moves at the node meanwhile
# Seconds in which an agent that has all headers says so, many times over. One that has not is
# not waited for: a load that overlaps the pull is worth more than a plan.
PATIENCE = 0.5
_FAILURES = (CacheError, OSError)


class Load:
    """One load. Close it, or leave its ``with`` block: then nothing of it stays."""

    def __init__(self, place: Place, *, rank: int, peers: int, adopts: bool = False) -> None:
        """Load what ``place`` names, in one of ``peers`` processes of this host.

        Args:
            place: where the agent is.
            rank: of this process among all of the engine.
            peers: processes of this host that load the model.
            adopts: whether the model can look at memory that the agent laid out for the rank.
        """
        self._place = place
        self._rank = rank
        self._peers = peers
        self._adopts = adopts
        self.patterns: Collection[str] | None = None  # what the model wants for weight files
        self.outcome = Outcome.LOADED  # unless the engine went another way
        self.reason: str | None = None  # why it did
        self.adopted = 0  # bytes of parameters that are the agent's memory
        self.copied: str | None = None  # where a GPU copied: out of which memory
        self.refused: str | None = None  # why memory that was laid out is not used
        self._attached: Attached | None = None
        self._failure: Exception | None = None  # of an attempt to attach
        self._flat: torch.Tensor | None = None  # that was declared
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def attach(self) -> Attached:
        """Attach, or go on with what was attached before, or with what prevented it.

        Raises:
            CacheError: the agent is not there, or refuses. It is told how this ends even so.
        """
        if self._failure is not None:
            raise self._failure
        if self._attached is None:
            try:
                self._attach()
            except _FAILURES as error:
                self._failure = error
                raise
        assert self._attached is not None  # noqa: S101 - or it had been raised
        return self._attached

    @property
    def laid_out(self) -> bool:
        """Whether the agent has this rank's parameters in memory of their own. Raises as attach."""
        return self.attach().shard is not None

    def declare(self) -> int:
        """Take what the agent has laid out on a device; return its bytes, 0 for none.

        From then on it is taken from the engine's budget, so that the model is put there in any
        case, whether it is what the model reads or not. Raises as ``attach``.
        """
        shard = self.attach().shard
        if shard is None or not shard.device:
            return 0
        try:
            self._flat = memory_of(shard)
        except RefusedError as error:
            self._refuse(str(error))
            self.attach()  # answers when that memory was given up
            return 0
        return self._flat.numel()

    def hold(self, planning: Planning) -> None:
        """Have ``planning`` put its model into what was declared. Before ``run``."""
        if self._flat is not None:
            planning.hold(self._flat)
            self._flat = None

    def run(self, feed: "Feed", *, once: bool = False, planning: Planning | None = None) -> None:
        """Load the model until what it was given is confirmed.

        With ``once`` it is fed only after the confirmation, for a model that cannot take its
        weights a second time. Without ``planning`` nothing is adopted, and no plan is made.

        Raises:
            CacheError: it cannot be confirmed. What was fed is void.
        """
        for left in reversed(range(ATTEMPTS)):
            try:
                self._attempt(feed, once=once, planning=planning)
            except GenerationGoneError:
                if not left:
                    raise
                self._let_go(planning)
            else:
                return

    def leave(self, document: bytes) -> None:
        """Give the agent a plan of what was read, for the next replica. Raises as ``attach``."""
        self.attach().send_plan(document)

    def confirmed(self) -> "Weights":
        """Wait for the confirmation of every file; return the weights.

        Raises:
            CacheError: it does not come. No tensor has been given yet.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return self._confirmed()
            except GenerationGoneError:
                self._let_go()
        return self._confirmed()

    def tell(self) -> None:
        """Tell the agent, if it is there, how the load ended; it may give its memory up then."""
        if self._attached is not None:
            seconds = time.monotonic() - self._began
            self._attached.done(
                self.outcome, seconds, self.reason, adopted=self.adopted, copied=self.copied
            )

    def close(self) -> None:
        """Hang up, and give up the memory that no tensor looks at."""
        self._failure = self._flat = None
        if self._attached is not None:
            self._attached.close()
            self._attached = None

    def _attach(self) -> None:
        socket, model = self._place.socket, self._place.model
        # Kept before it is mapped: an agent that refuses still wants to know how it ends.
        self._attached = connect(
            socket, model, rank=self._rank, peers=self._peers, adopts=self._adopts
        )
        self._attached.map()

    def _attempt(self, feed: "Feed", *, once: bool, planning: Planning | None) -> None:
        attached = self.attach()
        if attached.shard is not None:
            try:
                self._adopt(attached, attached.shard, feed, planning)
            except (RefusedError, MalformedError) as error:
                # What came beside the shard may be as wrong as the plan that it was cut by.
                why = str(error)
            else:
                return
            # Said out here: the frames of a caught error look at memory that the agent may need.
            self._refuse(why, planning)
        self._feed(self.attach(), feed, once=once, planning=planning)

    def _adopt(
        self, attached: Attached, shard: Shard, feed: "Feed", planning: Planning | None
    ) -> None:
        """Have the model look at ``shard``, and feed it the rest."""
        if planning is None:
            raise RefusedError("this load takes no memory that is laid out")
        wanted = self._weight_files(attached)
        early = not attached.confirmed
        names = planning.adopt(attached, shard, wanted)

        def feed_rest() -> None:
            try:
                feed(attached.tensors(wanted, names), planning.adopted)
            except _FAILURES:
                raise
            except Exception as error:
                raise planning.not_fed(error) from error

        feed_rest()
        attached.wait_confirmed()
        if early and attached.rewritten:
            planning.check_traced(attached.headers(wanted))
            feed_rest()
        planning.check()
        self.adopted = planning.size

    def _feed(
        self, attached: Attached, feed: "Feed", *, once: bool, planning: Planning | None
    ) -> None:
        """Feed the model everything; trace before how it takes it, if there is time."""
        wanted = self._weight_files(attached)
        self._settle(planning)
        if planning is not None:
            headed = attached.headers_within(PATIENCE, wanted)
            if headed is not None:
                planning.trace(attached, headed)
        if once:
            attached.wait_confirmed()
        early = not attached.confirmed
        with _pinning(attached, planning) as through:
            _give(feed, through(attached.tensors(wanted)))
            attached.wait_confirmed()
        if planning is not None:
            self.copied = planning.copied
        if early and attached.rewritten:  # with other headers, maybe
            self._feed(attached, feed, once=once, planning=planning)

    def _refuse(self, why: str, planning: Planning | None = None) -> None:
        """Tell the agent that it has to bring plain files."""
        self.refused = why
        self._settle(planning)
        self.attach().refuse(self.refused)
        self._let_go(planning)

    def _settle(self, planning: Planning | None) -> None:
        """Let go of what was laid out: the agent may need that memory for plain files."""
        if planning is not None:
            planning.settle()

    def _let_go(self, planning: Planning | None = None) -> None:
        """Hang up, to attach again: to plain files, since what was laid out is void."""
        self._settle(planning)
        self.close()
        self._adopts = False

    def _confirmed(self) -> "Weights":
        attached = self.attach()
        attached.wait_confirmed()
        return attached.tensors(self._weight_files(attached))

    def _weight_files(self, attached: Attached) -> Callable[[str], bool]:
        """Return what tells a file that is loaded by its path."""
        paths = [file.path for file in attached.files]
        index = attached.read(INDEX) if INDEX in paths else None
        return weight_files(paths, index, self.patterns).__contains__


def _give(feed: "Feed", weights: "Weights") -> None:
    """Feed ``weights``. Who reads them ahead is done before anybody else hears the agent."""
    try:
        feed(weights, ())
    finally:
        if isinstance(weights, Generator):
            weights.close()


def _pinning(
    attached: Attached, planning: Planning | None
) -> AbstractContextManager[Callable[["Weights"], "Weights"]]:
    return nullcontext(lambda weights: weights) if planning is None else planning.pinning(attached)
