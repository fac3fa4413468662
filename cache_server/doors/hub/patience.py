"""How long a question waits for origins, all its waits together: clients give up after 10 s.

A repository that comes by itself is waited for twice: for the hub to say that it is there, then for
the slot to be laid out.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from cache_protocol.errors import CacheError

PATIENCE = 4.0  # seconds; a word within 5 is what the door promises


class Patience:
    """What is left of the time of one question."""

    def __init__(self) -> None:
        """Begin now."""
        self._until = monotonic() + PATIENCE

    @asynccontextmanager
    async def wait(self, late: CacheError) -> AsyncIterator[None]:
        """Wait inside the block for as long as there is time left; then raise ``late``."""
        try:
            async with asyncio.timeout(self._until - monotonic()):
                yield
        except TimeoutError as error:
            raise late from error
