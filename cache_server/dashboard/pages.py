"""The three pages and their streams: who looks, at what, with which query. They change nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from fastapi.routing import APIRoute

from cache_protocol.errors import MalformedError
from cache_protocol.units import parse_size
from cache_server.dashboard import listing
from cache_server.dashboard.browser import ListViewer, PageViewer
from cache_server.dashboard.layout import Layout
from cache_server.dashboard.list_page import ListPage
from cache_server.dashboard.looks import Looks
from cache_server.dashboard.node_page import NodePage
from cache_server.dashboard.parts import Part, watch
from cache_server.dashboard.pipeline_page import PipelinePage
from cache_server.http.streams import Streams

MAX_TEXT = 200  # characters that somebody searches for


def _query(
    q: Annotated[str, Query(max_length=MAX_TEXT)] = "",
    only: listing.Only = listing.Only.ALL,
    sort: listing.Sort = listing.Sort.ACTIVITY,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    tenant: Annotated[str, Query(max_length=100)] = "",
) -> listing.Query:
    return listing.Query(q.strip(), only, sort, page, tenant)


def _need(need: Annotated[str, Query(max_length=40)] = "") -> int | None:
    size = parse_size(need) if need.strip() else None
    if size is not None and size >= 2**63:
        raise MalformedError(f"{need} is more than any disk has")
    return size


Asked = Annotated[listing.Query, Depends(_query)]
Need = Annotated[int | None, Depends(_need)]


@dataclass(frozen=True, slots=True)
class Pages:
    """All of them."""

    layout: Layout
    list: ListPage
    pipeline: PipelinePage
    node: NodePage


def page_routes(pages: Pages, route: type[APIRoute]) -> APIRouter:
    """Return the routes of the pages; ``route`` shows their failures."""
    router = APIRouter(include_in_schema=False, route_class=route)
    layout, glances = pages.layout, pages.layout.service.figures.glances

    @router.get("/")
    def pipelines(request: Request, caller: ListViewer, query: Asked) -> HTMLResponse:
        parts = pages.list.parts(caller, glances(caller.tenant), query)
        return layout.page(request, "list", {"parts": _by_id(parts), "query": query})

    @router.get("/pipelines/{pipeline}")
    def pipeline(pipeline: str, request: Request, caller: PageViewer) -> HTMLResponse:
        key = caller.key(pipeline)
        parts = _by_id(pages.pipeline.parts(caller, key))
        return layout.page(request, "pipeline", {"parts": parts, "key": key})

    @router.get("/node")
    def node(request: Request, caller: ListViewer, need: Need) -> HTMLResponse:
        parts = _by_id(pages.node.parts(caller, glances(caller.tenant), need))
        return layout.page(request, "node", {"parts": parts})

    return router


def live_routes(looks: Looks, streams: Streams, route: type[APIRoute]) -> APIRouter:
    """Return the streams that keep an open page as it would be if it were opened now."""
    router = APIRouter(include_in_schema=False, route_class=route)

    @router.get("/live")
    async def pipelines(caller: ListViewer, query: Asked) -> StreamingResponse:
        return streams.open(caller.identity, watch(looks.at_list(caller, query)))

    @router.get("/pipelines/{pipeline}/live")
    async def pipeline(pipeline: str, caller: PageViewer) -> StreamingResponse:
        key = caller.key(pipeline)
        return streams.open(caller.identity, watch(looks.at_pipeline(caller, key)))

    @router.get("/node/live")
    async def node(caller: ListViewer, need: Need) -> StreamingResponse:
        return streams.open(caller.identity, watch(looks.at_node(caller, need)))

    return router


def _by_id(parts: Sequence[Part]) -> dict[str, Part]:
    return {part.id: part for part in parts}
