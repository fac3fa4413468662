"""One load of one model out of the agent's memory, for an engine that can feed its model.

Knows no engine. The engine gives a ``feed``, which takes ``(name, tensor)`` pairs and may be
called again: what was fed is void until every file is confirmed.
"""

import time
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Self

from cache_protocol.errors import GenerationGoneError
from replica_agent.engines.checkpoint import INDEX, weight_files
from replica_agent.handover.client import Attached, connect
from replica_agent.handover.messages import Outcome
from replica_agent.handover.place import Place

if TYPE_CHECKING:
    import torch

    Weights = Iterator[tuple[str, torch.Tensor]]

ATTEMPTS = 3  # to load a model whose content moves at the node meanwhile


class Load:
    """One load. Close it, or leave its ``with`` block: then nothing of it stays."""

    def __init__(
        self, place: Place, *, rank: int, peers: int, patterns: Collection[str] | None = None
    ) -> None:
        """Load what ``place`` names, in one of ``peers`` processes of this host.

        ``patterns`` is what the model's code wants instead of the usual weight files.
        """
        self._place = place
        self._rank = rank
        self._peers = peers
        self._patterns = patterns
        self.outcome = Outcome.LOADED  # unless the engine went another way
        self.reason: str | None = None  # why it did
        self._attached: Attached | None = None
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def attach(self) -> Attached:
        """Attach, or go on with the memory that a load before this one left.

        Raises:
            CacheError: the agent is not there, or refuses. It is told how this ends even so.
        """
        if self._attached is None:
            place = self._place
            # Kept before it is mapped: an agent that refuses still wants to know how it ends.
            self._attached = connect(place.socket, place.model, rank=self._rank, peers=self._peers)
            self._attached.map()
        return self._attached

    def run(self, feed: "Callable[[Weights], object]", *, once: bool = False) -> None:
        """Feed the model until what it was fed is confirmed.

        With ``once`` it is fed only after the confirmation, for a model that cannot take its
        weights a second time.

        Raises:
            CacheError: it cannot be confirmed. What was fed is void.
        """
        for left in reversed(range(ATTEMPTS)):
            try:
                self._run(self.attach(), feed, once=once)
            except GenerationGoneError:
                if not left:
                    raise
                self.close()
            else:
                return

    def confirmed(self) -> "Weights":
        """Wait for the confirmation of every file; return the weights.

        Raises:
            CacheError: it does not come. No tensor has been given yet.
        """
        attached = self.attach()
        attached.wait_confirmed()
        return self._weights(attached)

    def tell(self) -> None:
        """Tell the agent, if it is there, how the load ended; it may give its memory up then."""
        if self._attached is not None:
            seconds = time.monotonic() - self._began
            self._attached.done(self.outcome, seconds, self.reason)

    def close(self) -> None:
        """Hang up, and give up the memory that no tensor looks at."""
        if self._attached is not None:
            self._attached.close()
            self._attached = None

    def _run(self, attached: Attached, feed: "Callable[[Weights], object]", *, once: bool) -> None:
        if once:
            attached.wait_confirmed()
        early = not attached.confirmed
        feed(self._weights(attached))
        attached.wait_confirmed()
        if early and attached.rewritten:
            feed(self._weights(attached))

    def _weights(self, attached: Attached) -> "Weights":
        paths = [file.path for file in attached.files]
        index = attached.read(INDEX) if INDEX in paths else None
        return attached.tensors(weight_files(paths, index, self._patterns).__contains__)
