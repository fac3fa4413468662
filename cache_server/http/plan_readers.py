"""Threads of their own for questions about plans, which read the disk.

A disk that hangs takes these, and none that renew leases or answer other calls. Whoever asks has
a second for it, and weights to read where there is no answer.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from cache_protocol.errors import DiskError

READERS = 4
READ_LIMIT = 5.0  # seconds, with the time that a question stood in line

T = TypeVar("T")


class PlanReaders:
    """The threads, and the line before them."""

    def __init__(self, check: Callable[[], None]) -> None:
        """``check`` raises where the disk is known to be sick: nobody stands in line for that."""
        self._check = check
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="plans")

    async def ask(self, question: Callable[[], T]) -> T:
        """Return the answer to ``question``; raises what it raises.

        Raises:
            DiskError: it is sick, or there was no answer in time.
        """
        self._check()
        answer = asyncio.get_running_loop().run_in_executor(
            self._threads, copy_context().run, question
        )
        try:
            async with asyncio.timeout(READ_LIMIT):
                return await answer
        except TimeoutError as error:
            raise DiskError(f"no answer about plans within {READ_LIMIT:.0f} s") from error
