"""Who calls, and whether a call is theirs to make. Every route says which right it needs.

The door has asked who it is before anything was read; a route that says nothing is refused when
the application is built, so that none is open by mistake.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute

from cache_protocol.errors import ForbiddenError, MalformedError, UnknownPipelineError
from cache_protocol.names import check_pipeline, shown
from cache_server.catalogue.registry import Key
from cache_server.core.access import ALL_TENANTS, Identity, Right, covers

TENANT_HEADER = "warmline-tenant"  # an admin acts for another tenant with it, or for all: "*"

ABOUT_ALL = frozenset({Right.SEE, Right.OPERATE})  # calls that may be about all tenants


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and in which tenant."""

    identity: Identity
    tenant: str  # or ALL_TENANTS, for lists

    def key(self, pipeline: str) -> Key:
        """Return the key of ``pipeline``, which need not exist.

        Raises:
            UnknownPipelineError: it is not there for this caller.
            MalformedError: the caller acts for all tenants, and did not say whose it is.
        """
        name = self.name(pipeline)
        self.check_one_tenant()
        return Key(self.tenant, name)

    def name(self, pipeline: str) -> str:
        """Return ``pipeline`` to look for in lists; UnknownPipelineError as of ``key``."""
        if not self.identity.reaches(pipeline):
            raise UnknownPipelineError(f"there is no pipeline {shown(pipeline)}")
        return pipeline

    def reaches(self, key: Key) -> bool:
        """Whether ``key`` is there for this caller."""
        return covers(self.tenant, key.tenant) and self.identity.reaches(key.id)

    def check_one_tenant(self) -> None:
        """Ask back who acts for all tenants; MalformedError."""
        if self.tenant == ALL_TENANTS:
            raise MalformedError(
                "of which tenant? This call is about one, only lists are about all of them; send "
                "'Warmline-Tenant: NAME', or use --tenant NAME"
            )

    def require(self, right: Right) -> None:
        """Refuse who has not ``right``; ForbiddenError."""
        if not self.identity.may(right):
            raise ForbiddenError(
                f"a token of role {self.identity.role} may not do this: it needs the right "
                f"{right.value!r}; ask an admin for a token of another role"
            )


@dataclass(frozen=True)
class Needs:
    """A route's rule; as a dependency it gives the route its caller."""

    right: Right

    # A coroutine, since a plain function would cost every call a change of threads.
    async def __call__(self, request: Request) -> Caller:
        """Return who calls; ForbiddenError if it is not theirs to make."""
        return self.caller_of(request)

    def caller_of(self, request: Request) -> Caller:
        """Return who makes ``request``; raises as ``caller``."""
        return self.caller(request.state.identity, request.headers.get(TENANT_HEADER))

    def caller(self, identity: Identity, tenant: str | None) -> Caller:
        """Return ``identity`` as who calls for ``tenant``, None: for its own.

        Raises:
            ForbiddenError: it is not for it to make such a call, or not for this tenant.
            MalformedError: the name of a tenant that is none, or all where one is needed.
        """
        caller = Caller(identity, _tenant(tenant, identity))
        if not identity.acts_for(caller.tenant):
            raise ForbiddenError(f"this token is not of tenant {shown(caller.tenant)}")
        caller.require(self.right)
        if self.right not in ABOUT_ALL:
            caller.check_one_tenant()
        return caller


Viewer = Annotated[Caller, Depends(Needs(Right.SEE))]
Visitor = Annotated[Caller, Depends(Needs(Right.LOOK))]
Changer = Annotated[Caller, Depends(Needs(Right.CHANGE))]
Reader = Annotated[Caller, Depends(Needs(Right.READ))]
Reporter = Annotated[Caller, Depends(Needs(Right.REPORT))]
Operator = Annotated[Caller, Depends(Needs(Right.OPERATE))]


def rule_of(route: APIRoute) -> Right | None:
    """Return the right that ``route`` needs; None if it says nothing."""
    return next((need.right for need in _needs(route.dependant)), None)


def check_rules(routes: Sequence[BaseRoute], *, open_to_all: Collection[str]) -> None:
    """Refuse an application with a route that has no rule; RuntimeError names it."""
    # A router that was included is one entry of ``routes``: this looks inside.
    for context in iter_route_contexts(routes):
        route = context.original_route
        ruled = isinstance(route, APIRoute) and rule_of(route) is not None
        if not ruled and context.path not in open_to_all:
            raise RuntimeError(
                f"{context.path} says nothing of who may call it: see http/access.py"
            )


def _tenant(named: str | None, identity: Identity) -> str:
    if named is None:
        return identity.tenant
    return named if named == ALL_TENANTS else check_pipeline(named)


def _needs(dependant: Dependant) -> Iterable[Needs]:
    if isinstance(dependant.call, Needs):
        yield dependant.call
    for each in dependant.dependencies:
        yield from _needs(each)
