"""Leave with the node the plans that engines sent: in nobody's way, and for as long as is decent.

The weights were given up before, and the report is out. A node that is silent is asked once, not
once a rank; and when COMMAND ends, whatever is under way ends with it.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from cache_protocol.errors import BusyError, CacheError, ServerUnreachableError
from cache_protocol.manifest import Manifest
from replica_agent.client import ControlClient
from replica_agent.handover.sent import Sent

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
        """Give the node what was ``sent``, if ``manifest`` is of it; yield what prevents that."""
        client = self._opened()
        size = sum(len(each.document) for each in sent)
        deadline = time.monotonic() + PATIENCE + size / RATE
        try:
            for number, each in enumerate(sent):
                what = f"the plan of rank {each.rank} of {each.model} was not left with the node"
                if each.generation != manifest.generation:
                    yield f"{what}: generation {each.generation} was replaced"
                    continue
                try:
                    self._put(client, manifest.pipeline, each, deadline)
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

    def _put(self, client: ControlClient, pipeline: str, sent: Sent, deadline: float) -> None:
        """Put one plan; a node that is busy is asked once more.

        Raises:
            CacheError: it did not take it; ServerUnreachableError where no other will fare better.
        """
        try:
            self._put_once(client, pipeline, sent, deadline)
        except BusyError:
            self._closed.wait(min(PAUSE, max(0.0, deadline - time.monotonic())))
            self._put_once(client, pipeline, sent, deadline)

    def _put_once(self, client: ControlClient, pipeline: str, sent: Sent, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise ServerUnreachableError("the node took too long for the plans before it")
        client.put_document(pipeline, sent.model, sent.digest, sent.document, left)
