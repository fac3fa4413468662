"""What there is to read, as the door sees it: buckets, names, and content that is held for a reader.

The one place of this door that knows the service. A look at names starts no fill, so that who
lists every bucket does not pull every pipeline; reading an object does.
"""

from concurrent.futures import TimeoutError as LateError
from datetime import datetime
from typing import NamedTuple, Protocol

from cache_protocol.errors import BusyError
from cache_protocol.names import shown
from cache_server.catalogue.registry import Key
from cache_server.core.content import Content
from cache_server.service.library import Readable

PATIENCE = 20.0  # seconds for names and sizes of a cold slot; boto3 gives up after 60


class Names(NamedTuple):
    """What a generation consists of."""

    content: Content
    since: datetime  # UTC, from when on it is known: what S3 calls last modified


class Stock(Protocol):
    """All pipelines of a node. Safe for threads."""

    def buckets(self, tenant: str) -> list[tuple[str, datetime]]:
        """Return pipelines of ``tenant`` by id, with the instant of their registration."""
        ...

    def check(self, key: Key) -> None:
        """Raise UnknownPipelineError unless ``key`` is registered; starts and asks nothing."""
        ...

    def names(self, who: str, key: Key) -> Names:
        """Return what ``key`` consists of, for the token ``who``; may ask its origin.

        Raises:
            CacheError: nobody knows; BusyError: the origin takes its time.
        """
        ...

    def open(self, who: str, key: Key) -> Readable:
        """Return what is to be read of ``key``, and hold it for ``who``; a cold slot fills.

        Raises:
            CacheError: nothing is.
        """
        ...
