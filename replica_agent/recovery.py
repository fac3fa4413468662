"""Decide what a lane does after a failure: wait, ask for the manifest again, or give up.

    connection lost, wrong answer, 429     wait, try again
    403, 410, 503                          wait, ask for the manifest again: it brings fresh
                                           tickets, tells of a new generation, and starts a
                                           fill that has failed afresh
    a problem that says ``retry: never``   give up with its reason
    bytes that are not the promised ones   give up: the node has pulled them twice already
    a certificate that is not believed     give up: it will be the same at the next try
    no progress for too long               give up with the last reason

Many lanes fail at once when a node restarts: one of them asks for the manifest, the others go
on with what it brought.
"""

import random
import threading
import time
from collections.abc import Callable

from cache_protocol.errors import CacheError, IntegrityError, Retry, ServerUnreachableError
from cache_protocol.manifest import Manifest
from replica_agent.core.answers import LostError, RefusedError, UntrustedError
from replica_agent.core.backoff import pause
from replica_agent.transfer import Transfer

PATIENCE = 120.0  # seconds without progress; a node restarts in less, an engine waits no longer
_ASK_AGAIN = (403, 410, 503)


class Recovery:
    """What all lanes of one transfer do about failures. Safe for threads."""

    def __init__(
        self,
        transfer: Transfer,
        manifest: Callable[[], Manifest],
        stopped: threading.Event,
        patience: float = PATIENCE,
    ) -> None:
        """Ask ``manifest`` for a fresh one; stop waiting when ``stopped`` is set."""
        self._transfer = transfer
        self._manifest = manifest
        self._stopped = stopped
        self._patience = patience
        self._asking = threading.Lock()

    def after(
        self, error: LostError | RefusedError, failures: int, version: int, patience: float = 0.0
    ) -> None:
        """Return when it makes sense to try again.

        Args:
            error: what went wrong.
            failures: how often in a row, this one included.
            version: of the transfer's addresses when the request was made.
            patience: seconds without progress that are fine for this request, when they are
                more than usual.

        Raises:
            CacheError: it makes no sense.
        """
        if isinstance(error, RefusedError) and _is_final(error):
            raise error.error
        if isinstance(error, UntrustedError):
            raise ServerUnreachableError(str(error)) from error
        if time.monotonic() - self._transfer.last_progress > max(self._patience, patience):
            raise self._reason(error)
        wish = error.wish if isinstance(error, RefusedError) else 0.0
        self._stopped.wait(pause(failures, random.random(), wish))  # noqa: S311 - jitter
        if isinstance(error, RefusedError) and error.status in _ASK_AGAIN:
            self._ask(version)

    def _ask(self, version: int) -> None:
        with self._asking:
            if self._transfer.version != version or self._transfer.over:
                return  # another lane was here
            try:
                self._transfer.refresh(self._manifest())
            except CacheError as error:
                if error.retry is Retry.NEVER:
                    raise  # the next failure of the lane comes back here otherwise

    def _reason(self, error: LostError | RefusedError) -> CacheError:
        if isinstance(error, RefusedError):
            return error.error
        return ServerUnreachableError(f"no progress for {self._patience:.0f} s; last: {error}")


def _is_final(error: RefusedError) -> bool:
    # Nobody fills a slot again whose fill has failed until somebody asks for the manifest: who
    # waits for the bytes of an integrity failure waits for nothing.
    return error.retry is Retry.NEVER or isinstance(error.error, IntegrityError)
