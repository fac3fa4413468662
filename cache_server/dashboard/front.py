"""The dashboard put together: what ``http.api.build`` is given to stand before the API."""

import time
from datetime import UTC, datetime

from fastapi import APIRouter

from cache_server.dashboard.actions import action_routes
from cache_server.dashboard.assets import PATH, asset_routes, link, read_assets
from cache_server.dashboard.browser import page_route
from cache_server.dashboard.layout import Layout
from cache_server.dashboard.list_page import ListPage
from cache_server.dashboard.looks import Looks
from cache_server.dashboard.node_page import NodePage
from cache_server.dashboard.pages import Pages, live_routes, page_routes
from cache_server.dashboard.pipeline_page import PipelinePage
from cache_server.dashboard.render import Templates
from cache_server.dashboard.signing_in import SIGN_IN, sign_in_routes, to_sign_in
from cache_server.dashboard.throughput import Throughput
from cache_server.http.api import Wiring, streams
from cache_server.http.front import Front
from cache_server.http.sessions import Sessions
from cache_server.service.service import Service


def dashboard(service: Service, wiring: Wiring) -> Front:
    """Return the pages of ``service``."""
    identities, assets = wiring.identities, read_assets()
    sessions = Sessions(identities.session_key(), identities.by_id, time.time)
    templates = Templates(lambda name: link(assets, name))
    layout = Layout(service, templates, sessions, wiring.auth)
    pages = _pages(layout, wiring)
    looks = Looks((pages.list, pages.pipeline, pages.node), service.figures.glances)
    route = page_route(layout.failure)
    routes = APIRouter()
    for router in (
        asset_routes(assets),
        sign_in_routes(layout, identities, wiring.attempts, route),
        page_routes(pages, route),
        action_routes(layout, route),
        live_routes(looks, streams(service, wiring), route),
    ):
        routes.include_router(router)
    return Front(routes, sessions, (PATH, SIGN_IN), to_sign_in)


def _pages(layout: Layout, wiring: Wiring) -> Pages:
    service, templates, lanes = layout.service, layout.templates, wiring.lanes

    def served() -> int:
        return 0 if lanes is None else lanes().bytes_sent

    return Pages(
        layout,
        ListPage(service, wiring.boots, templates, _now),
        PipelinePage(service, wiring.boots, templates, _now),
        NodePage(service, templates, _now, time.monotonic, served, Throughput()),
    )


def _now() -> datetime:
    return datetime.now(UTC)
