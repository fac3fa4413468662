"""An origin whose errors tell no secret, whatever the other side said in them.

The credentials are known here, and an error that leaves is written down by everybody: as the
last error of a pipeline, in the log, in answers, in the report of a boot that failed.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from cache_protocol.discretion import redacted
from cache_protocol.errors import CacheError, OriginUnavailableError
from cache_protocol.ranges import Span
from cache_server.core.content import Listing, OriginFile
from cache_server.ports import Origin, Stream


class DiscreetOrigin:
    """``origin``, without ``secrets`` in what it raises."""

    def __init__(self, origin: Origin, secrets: frozenset[str]) -> None:
        self._origin = origin
        self._secrets = secrets

    def resolve(self) -> Listing:
        """Implement ``ports.Origin``."""
        with self._discreet():
            return self._origin.resolve()

    def check_access(self) -> None:
        """Implement ``ports.Origin``."""
        with self._discreet():
            self._origin.check_access()

    @contextmanager
    def open(self, listing_revision: str, file: OriginFile, span: Span) -> Iterator[Stream]:
        """Implement ``ports.Origin``."""
        # Around the caller's block too: what that raises of its own holds no secret.
        with self._discreet(), self._origin.open(listing_revision, file, span) as stream:
            yield stream

    def close(self) -> None:
        """Implement ``ports.Origin``."""
        self._origin.close()

    @contextmanager
    def _discreet(self) -> Iterator[None]:
        try:
            yield
        except CacheError as error:
            said = str(error)
            if (shown := redacted(said, self._secrets)) == said:
                raise
            error.args = (shown,)
            raise error from None
        except Exception as error:
            # What nobody foresaw is logged with its traceback, and with all that led to it.
            told = "".join(traceback.format_exception(error))
            if redacted(told, self._secrets) == told:
                raise
            shown = redacted(repr(error), self._secrets)
            raise OriginUnavailableError(
                f"the origin's answer is not understood: {shown}"
            ) from None
