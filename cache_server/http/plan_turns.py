"""Turns of plans that are left with the node, which may be far larger than any other body.

To hold one takes memory, to parse one takes the interpreter, and to keep one takes a thread and
the disk. So they come one by one of each tenant and a few of all, at a pace, small ones as well:
plans can wait, and replicas that ask for weights cannot.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from fastapi import Request
from starlette.types import Message, Receive

from cache_protocol.errors import BusyError
from cache_protocol.plans import MAX_PLAN

AT_ONCE = 4  # 128 MiB of bodies
LEAST = 2**16  # bytes that a smaller one counts as; to sync it takes as long as to parse so many
# Bytes per second of one tenant; to parse so many takes 0.3 s, and where they are forged up to 0.8.
PACE = 2 * 2**20
# Seconds that one waits for its turn: longer than the largest has its tenant wait, shorter than
# an agent waits for the answer (``replica_agent.boot.leaving``), which else never hears "busy".
PATIENCE = MAX_PLAN / PACE + 4.0
_PLAN = re.compile(r"/v1/pipelines/([^/]+)/plans/[^/]+/[^/]+")


def leaves_plan(request: Request) -> str | None:
    """Return the pipeline that ``request`` leaves a plan of; None where it leaves none."""
    plan = _PLAN.fullmatch(request.scope["path"]) if request.method == "PUT" else None
    return None if plan is None else plan[1]


class Counted:
    """ASGI: what ``receive`` gives, counted."""

    def __init__(self, receive: Receive) -> None:
        """Count from nothing."""
        self.size = 0  # bytes of body so far
        self._receive = receive

    async def __call__(self) -> Message:
        """Return the next message."""
        message = await self._receive()
        self.size += len(message.get("body", b""))
        return message


class PlanTurns:
    """Turns of requests that leave a plan."""

    def __init__(self, patience: float | None = None) -> None:
        """``patience`` is how many seconds one waits for its turn, PATIENCE by default."""
        self._patience = PATIENCE if patience is None else patience
        self._places = asyncio.Semaphore(AT_ONCE)
        # Those of tenants who wait, have a turn or rest from one: tenants come and go.
        self._of: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, tenant: str, receive: Receive) -> AsyncIterator[Counted]:
        """Wait for a turn of ``tenant``, and read what ``receive`` gives in it.

        What was announced and never came is not rested from.

        Raises:
            BusyError: it did not come.
        """
        turn = self._of.setdefault(tenant, asyncio.Lock())
        try:
            async with asyncio.timeout(self._patience):
                await self._take(turn)
        except TimeoutError as error:
            raise BusyError(
                f"no turn for a plan within {self._patience:.0f} s: one of a tenant is dealt with "
                f"at once, {PACE} bytes per second, and {AT_ONCE} of all; come back"
            ) from error
        loop = asyncio.get_running_loop()
        began, read = loop.time(), Counted(receive)
        try:
            yield read
        finally:
            self._places.release()
            rested = began + max(read.size, LEAST) / PACE
            loop.call_at(rested, turn.release)  # at once where that has passed

    async def _take(self, turn: asyncio.Lock) -> None:
        await turn.acquire()
        try:
            await self._places.acquire()
        except asyncio.CancelledError:  # too late, or the peer has left
            turn.release()
            raise
