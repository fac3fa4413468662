"""Warm, refresh, pin, unpin, evict: each asks once, says what it costs, and is sent as a form.

A form is taken from a page of this session alone: it carries a proof that no other site can know.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute

from cache_protocol.errors import ForbiddenError
from cache_server.catalogue.registry import Key
from cache_server.dashboard.browser import PROOF, Form, PageChanger, cookie_of
from cache_server.dashboard.layout import Layout
from cache_server.dashboard.render import pipeline_path
from cache_server.http.sessions import Sessions
from cache_server.http.sites import check_origin
from cache_server.service.service import Service

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a person may do to a pipeline."""

    name: str
    button: str
    do: Callable[[Service, Key, Fields], object]
    grave: bool = False  # it takes something away


def _evict(service: Service, key: Key, fields: Fields) -> None:
    service.removal.evict(key, force=fields.get("force") == "yes")


ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("warm", "Warm it", lambda s, k, _: s.warm(k, refresh=False)),
        Action("refresh", "Look for a newer revision", lambda s, k, _: s.warm(k, refresh=True)),
        Action("pin", "Pin it", lambda s, k, _: s.pipelines.pin(k, pinned=True)),
        Action("unpin", "Unpin it", lambda s, k, _: s.pipelines.pin(k, pinned=False)),
        Action("evict", "Evict it", _evict, grave=True),
    )
}


@dataclass(frozen=True)
class Proven:
    """A dependency: the fields of a form that comes from a page of this very session."""

    sessions: Sessions

    async def __call__(self, request: Request, fields: Form) -> Fields:
        """Return the fields.

        Raises:
            ForbiddenError: another site sent it, or the page is of a session that is over.
        """
        check_origin(request)
        if not self.sessions.is_proof(fields.get(PROOF, ""), cookie_of(request)):
            raise ForbiddenError(
                "this form does not come from a page of your session; open the page again"
            )
        return fields


def action_routes(layout: Layout, route: type[APIRoute]) -> APIRouter:
    """Return for each action the page that asks, and the form's own route."""
    router = APIRouter(include_in_schema=False, route_class=route)
    for action in ACTIONS.values():
        _add(router, action, layout)
    return router


def _add(router: APIRouter, action: Action, layout: Layout) -> None:
    path = f"/pipelines/{{pipeline}}/{action.name}"
    proven = Proven(layout.sessions)

    @router.get(path)
    def ask(pipeline: str, request: Request, caller: PageChanger) -> HTMLResponse:
        glance = layout.service.figures.glance(caller.key(pipeline))
        status = layout.service.figures.status()
        return layout.page(request, "ask", {"action": action, "p": glance, "status": status})

    @router.post(path)
    def act(
        pipeline: str, caller: PageChanger, fields: Annotated[Fields, Depends(proven)]
    ) -> RedirectResponse:
        key = caller.key(pipeline)
        action.do(layout.service, key, fields)
        return RedirectResponse(pipeline_path(key, done=action.name), 303)
