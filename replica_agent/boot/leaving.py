"""Leave with the node the plans that engines sent: in nobody's way, and for as long as is decent.

The weights were given up before, and the report is out: only now does anybody look into what was
sent. A node that is silent is asked once, not once a rank; and when COMMAND ends, whatever is under
way ends with it.

An engine that is fed plain files cannot know that another one of its kind laid out in vain. So the
node is asked for its word first, once a model: here nobody waits for it, and what a boot heard
before its pull may be nothing, or old.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from cache_protocol.errors import (
    BusyError,
    CacheError,
    GenerationGoneError,
    MalformedError,
    ServerUnreachableError,
)
from cache_protocol.manifest import Manifest
from cache_protocol.plans import Key, check_files, parse_plan
from replica_agent.client import ControlClient
from replica_agent.handover.sent import Sent
from replica_agent.plans.plain import is_plain

_T = TypeVar("_T")

# Seconds for all plans together: longer than a node has one wait for its turn, 20 s, before it says
# that it is busy, and nobody waits for us.
PATIENCE = 30.0
RATE = 2**20  # bytes a second for which there is more: half of what a node takes of one tenant
PAUSE = 1.0  # seconds before a node that has others to take is asked again, once


class Leaving:
    """The plans of one boot on their way to the node. For one thread, but for ``close``."""

    def __init__(self, ask: Callable[[], ControlClient]) -> None:
        """Use a client that ``ask`` makes, once there is something to leave."""
        self._ask = ask
        self._lock = threading.Lock()
        self._client: ControlClient | None = None
        self._closed = threading.Event()

    def leave(self, sent: Sequence[Sent], manifest: Manifest) -> Iterator[str]:
        """Give the node what was ``sent`` and it has no better word on; yield what prevents that.

        All of it is held against ``manifest``.
        """
        client = self._opened()
        size = sum(len(each.document) for each in sent)
        deadline = time.monotonic() + PATIENCE + size / RATE
        node = _Node(client, manifest.pipeline, deadline, self._closed)
        try:
            for number, each in enumerate(sent):
                what = f"the plan of rank {each.rank} of {each.model} was not left with the node"
                try:
                    key = _key_of(each, manifest)
                    if key not in node.final(each.model):
                        node.put(each.model, key, each.document)
                except ServerUnreachableError as error:
                    yield f"{what}, nor were {len(sent) - number - 1} more: {error}"
                    return
                except CacheError as error:
                    yield f"{what}: {error}"
        finally:
            client.close()

    def close(self) -> None:
        """End ``leave`` at once, from any thread, and for good."""
        self._closed.set()
        with self._lock:
            if self._client is not None:
                self._client.close()

    def _opened(self) -> ControlClient:
        with self._lock:
            self._client = self._ask()
            if self._closed.is_set():
                self._client.close()
            return self._client


class _Node:
    """The node, until a deadline. Raises ServerUnreachableError where no other question will do."""

    def __init__(
        self, client: ControlClient, pipeline: str, deadline: float, closed: threading.Event
    ) -> None:
        self._client = client
        self._pipeline = pipeline
        self._deadline = deadline
        self._closed = closed
        self._final: dict[str, frozenset[Key]] = {}  # by model, as far as they are known

    def final(self, model: str) -> frozenset[Key]:
        """Return what it keeps plans for that lay nothing out; raises CacheError."""
        if model not in self._final:
            listed = self._ask(partial(self._client.listed_plans, self._pipeline, model))
            self._final[model] = frozenset(each.key for each in listed if is_plain(*each))
        return self._final[model]

    def put(self, model: str, key: Key, document: bytes) -> None:
        """Leave a plan there; CacheError where it was not taken."""
        where = self._pipeline, model, key.digest
        self._ask(partial(self._client.put_document, *where, document))

    def _ask(self, call: Callable[[float], _T]) -> _T:
        """Return what ``call`` makes of the seconds that it has; once more for one that is busy."""
        try:
            return call(self._left())
        except BusyError:
            self._closed.wait(min(PAUSE, max(0.0, self._deadline - time.monotonic())))
            return call(self._left())

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise ServerUnreachableError("the node took too long for the plans before it")
        return left


def _key_of(sent: Sent, manifest: Manifest) -> Key:
    """Return the key of what was ``sent``.

    Raises:
        GenerationGoneError: it is about other content than ``manifest``.
        MalformedError: it is no plan of the memory that its sender was given.
    """
    if sent.generation != manifest.generation:
        raise GenerationGoneError(f"generation {sent.generation} was replaced")
    plan = parse_plan(sent.document)
    check_files(plan, [(file.path, file.size) for file in manifest.models[sent.model].files])
    said, given = (plan.key.rank, plan.key.checkpoint), (sent.rank, sent.checkpoint)
    if said != given:
        raise MalformedError(f"it says rank and checkpoint {said}, but was sent by {given}")
    return plan.key
