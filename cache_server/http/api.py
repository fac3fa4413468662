"""The control plane put together: the door, the routes, and who may call them.

Handlers that may wait for an origin are coroutines that await a future, so that any number of
them can wait; all others are plain functions, which FastAPI runs on its threads.
"""

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, FastAPI, Response

from cache_server.catalogue.boots import Boots
from cache_server.core.attempts import FailedAttempts
from cache_server.core.shares import LimitOf, no_limit
from cache_server.http import boots, problems
from cache_server.http.access import Viewer, check_rules
from cache_server.http.annex import Annex
from cache_server.http.auth import (
    Check,
    SharedAttempts,
    bearer,
    everybody,
    or_session,
    still_known,
)
from cache_server.http.described import describe
from cache_server.http.door import PROBES, Door
from cache_server.http.events import event_routes
from cache_server.http.front import Front
from cache_server.http.metrics import metric_routes
from cache_server.http.pipelines import CheckModels, pipeline_routes
from cache_server.http.policy import policy_routes
from cache_server.http.reading_plans import plan_routes
from cache_server.http.recent import Recent
from cache_server.http.replicas import DataAddress, replica_routes
from cache_server.http.streams import RHYTHM, Rhythm, Streams
from cache_server.http.tickets import ticket_routes
from cache_server.http.timing import Timing
from cache_server.http.tokens import token_routes
from cache_server.http.tracing import Tracing
from cache_server.metrics.exposition import Metrics
from cache_server.metrics.lanes import LaneCounts
from cache_server.service.identities import Identities
from cache_server.service.service import Service


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the routes need besides the service."""

    identities: Identities
    data: DataAddress
    boots: Boots
    auth: bool = True
    attempts: FailedAttempts = field(default_factory=SharedAttempts)  # with wrong tokens
    _: KW_ONLY
    check_models: CheckModels
    connections_of: LimitOf = no_limit  # how many requests of a tenant may be under way
    lanes: Callable[[], LaneCounts] | None = None  # of the data plane, for metrics
    rhythm: Rhythm = RHYTHM  # of streams of events


def build(
    service: Service,
    wiring: Wiring,
    front: Front | None = None,
    annexes: Sequence[Annex] = (),
) -> FastAPI:
    """Return the control plane as an ASGI application, with the pages of ``front`` before it.

    ``annexes`` speak other protocols, each below a path of its own.

    Raises:
        RuntimeError: a route does not say who may call it.
    """
    version = importlib.metadata.version("warmline")
    # FastAPI's own pages know no token, and would load a script from elsewhere.
    app = FastAPI(
        title="Warmline cache node",
        version=version,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app, annexes)
    _add_probes(app, service)
    metrics = Metrics(service, wiring.boots, wiring.attempts, wiring.lanes)
    check, limit_of = _check(wiring, front), wiring.connections_of
    app.add_middleware(Door, check=check, front=front, connections_of=limit_of, annexes=annexes)
    app.add_middleware(Timing, times=metrics.requests)
    app.add_middleware(Tracing)
    for annex in annexes:  # first: routes are tried in turn, and these are asked per file
        app.include_router(annex.routes)
    app.include_router(pipeline_routes(service, wiring.check_models))
    app.include_router(policy_routes(service))
    app.include_router(replica_routes(service, wiring.data))
    app.include_router(plan_routes(service))
    app.include_router(ticket_routes(wiring.data.tickets))
    app.include_router(token_routes(wiring.identities))
    app.include_router(metric_routes(metrics))
    app.include_router(_boot_routes(service, wiring, metrics))
    app.include_router(event_routes(streams(service, wiring), Recent(service.figures.glances)))

    @app.get("/openapi.json", include_in_schema=False)
    def openapi(_caller: Viewer) -> dict[str, Any]:
        """Return the description of this API."""
        if app.openapi_schema is None:
            app.openapi_schema = describe(app)
        return app.openapi_schema

    if front is not None:
        app.include_router(front.routes)
    check_rules(app.routes, open_to_all=(*PROBES, *(front.open_to_all if front else ())))
    return app


def streams(service: Service, wiring: Wiring) -> Streams:
    """Return streams of events that end with the token they were opened by, and with the node."""
    known = still_known(wiring.identities, auth=wiring.auth)
    return Streams(known, lambda: service.closing, wiring.rhythm)


def _boot_routes(service: Service, wiring: Wiring, metrics: Metrics) -> APIRouter:
    def now() -> datetime:
        return datetime.now(UTC)

    return boots.router(wiring.boots, now, service.options.region, metrics.count_boot)


def by_token(wiring: Wiring) -> Check:
    """Return what tells who asks by a token alone, or lets everybody in where auth is off."""
    return bearer(wiring.identities, wiring.attempts) if wiring.auth else everybody


def _check(wiring: Wiring, front: Front | None) -> Check:
    check = by_token(wiring)
    return check if front is None or not wiring.auth else or_session(check, front.sessions)


def _add_probes(app: FastAPI, service: Service) -> None:
    # On the loop itself: the threads may all wait for a hung disk, and this process still runs.
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that the process runs."""
        return {"status": "ok"}

    @app.get("/readyz", responses={503: {"description": "no new work should be sent here"}})
    async def readyz(response: Response) -> dict[str, str]:
        """Say whether new work should be sent here: all is looked at, and the disk is well."""
        reason = service.unready
        response.status_code = 200 if reason is None else 503
        return {"status": "ready"} if reason is None else {"status": "unready", "reason": reason}
