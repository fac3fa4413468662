"""What a request must have before anything of it is read: the token, and a body of bounded size.

Outermost, so that who has no token can neither have a body parsed nor take one of the threads
that answer.
"""

import asyncio
from collections.abc import Callable, Sequence

from fastapi import Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cache_protocol.errors import CacheError, MalformedError
from cache_protocol.plans import MAX_PLAN
from cache_server.core.access import Identity, Right, Role
from cache_server.core.shares import LimitOf, Shares, no_limit
from cache_server.http import problems
from cache_server.http.access import Needs
from cache_server.http.annex import Annex
from cache_server.http.front import Front
from cache_server.http.plan_turns import PlanTurns, leaves_plan

MAX_BODY = 2**20  # bytes; a registration of 100 models with their globs takes a tenth of it
STRANGERS_BODY = 2**12  # bytes, where nobody has to be known: a form with a token
BODY_LIMIT = 10.0  # seconds for all of it; at the bound above that is 100 kB/s
PROBES = ("/healthz", "/readyz")  # the only paths of the API that need no token
_LEAVING = Needs(Right.READ)  # a plan; its route says the same


class Door:
    """ASGI: lets through to ``app`` what may ask and is not too large."""

    def __init__(
        self,
        app: ASGIApp,
        check: Callable[[Request], Identity],
        front: Front | None = None,
        connections_of: LimitOf = no_limit,
        annexes: Sequence[Annex] = (),
    ) -> None:
        """Stand before ``app``.

        Args:
            app: what is behind.
            check: tells who asks, or raises CacheError.
            front: pages, where there are any.
            connections_of: how many requests of a tenant may be under way; a connection has one.
            annexes: parts that ask who it is, and say no, in their own way.
        """
        self._app = app
        self._check = check
        self._front = front
        self._shares = Shares("requests under way", connections_of)
        self._annexes = annexes
        self._plans = PlanTurns()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if _is_framed_twice(request):
            wrong = MalformedError("a request says Content-Length or Transfer-Encoding, not both")
            await problems.answer_as(wrong, 400, {"Connection": "close"})(scope, receive, send)
            return
        try:
            tenant = self._admit(request)
        except CacheError as error:
            await self._refusal(request, error)(scope, receive, send)
            return
        try:
            await self._let_in(request, receive, send)
        finally:
            if tenant is not None:
                self._shares.give_back(tenant)

    def _admit(self, request: Request) -> str | None:
        """Learn who asks; return the tenant that this request is counted for, None for nobody.

        An admin is not: whoever runs the node can act while a tenant uses all that it may.

        Raises:
            CacheError: nobody who may ask; or QuotaError, too many of its tenant do at once.
        """
        if self._opens(request.scope["path"]):
            return None
        annex = self._annex(request)
        check = self._check if annex is None or annex.check is None else annex.check
        identity = request.state.identity = check(request)
        if identity.role is Role.ADMIN:
            return None
        self._shares.take(identity.tenant)
        return identity.tenant

    async def _let_in(self, request: Request, receive: Receive, send: Send) -> None:
        if self._opens(request.scope["path"]):
            await self._answer(request, receive, send, STRANGERS_BODY)
        elif (pipeline := leaves_plan(request)) is None:
            await self._answer(request, receive, send, MAX_BODY)
        else:
            await self._let_plan_in(request, pipeline, receive, send)

    async def _let_plan_in(
        self, request: Request, pipeline: str, receive: Receive, send: Send
    ) -> None:
        try:
            # Before it takes a turn: who may leave none keeps nobody else's out.
            tenant = _LEAVING.caller_of(request).key(pipeline).tenant
            async with self._plans.turn(tenant, receive) as counted:
                await self._answer(request, counted, send, MAX_PLAN)
        except CacheError as error:
            await self._refusal(request, error)(request.scope, receive, send)

    async def _answer(self, request: Request, receive: Receive, send: Send, most: int) -> None:
        scope = request.scope
        try:
            async with asyncio.timeout(BODY_LIMIT):
                body = await _read(request, receive, most)
        except TimeoutError:
            late = MalformedError(f"the body took more than {BODY_LIMIT:.0f} s to come")
            await self._refusal(request, late, 408)(scope, receive, send)
        except MalformedError as error:
            await self._refusal(request, error, 413)(scope, receive, send)
        else:
            await self._app(scope, _replayed(body, receive), send)

    def _opens(self, path: str) -> bool:
        return path in PROBES or (self._front is not None and self._front.opens(path))

    def _refusal(self, request: Request, error: CacheError, status: int | None = None) -> Response:
        if (annex := self._annex(request)) is not None:
            return annex.refuse(request, error, status)
        if status is not None:
            return problems.answer_as(error, status)
        page = self._front.refuse(request, error) if self._front is not None else None
        return problems.answer(error) if page is None else page

    def _annex(self, request: Request) -> Annex | None:
        return next((a for a in self._annexes if a.covers(request.scope["path"])), None)


def _is_framed_twice(request: Request) -> bool:
    """Whether two fields say where the request ends.

    A proxy before this node may have believed the other one, and then takes what follows for the
    request of somebody else: RFC 9112, section 6.1.
    """
    return "content-length" in request.headers and "transfer-encoding" in request.headers


async def _read(request: Request, receive: Receive, most: int) -> Message:
    """Return the whole body as one message; that of a peer that left is its leaving.

    Raises:
        MalformedError: it has more than ``most`` bytes; nothing beyond that was kept.
    """
    announced = request.headers.get("content-length", "0")
    _bound(int(announced) if announced.isdecimal() else 0, most)
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return message
        body += message.get("body", b"")
        more = message.get("more_body", False)
        _bound(len(body), most)
    return {"type": "http.request", "body": bytes(body), "more_body": False}


def _bound(size: int, most: int) -> None:
    if size > most:
        raise MalformedError(f"the body has more than {most} bytes")


def _replayed(body: Message, receive: Receive) -> Receive:
    """Return a ``receive`` that gives ``body``, and then what still comes."""
    waiting = [body]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
