"""The routes of the control plane.

Handlers that may wait for an origin are coroutines that await a future, so that any number of
them can wait; all others are plain functions, which FastAPI runs on its threads.
"""

import asyncio
import importlib.metadata
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from cache_protocol.errors import CacheError, CapacityError, DiskError
from cache_protocol.manifest import dump_manifest
from cache_server.catalogue.boots import Boots
from cache_server.catalogue.registry import Key
from cache_server.http import boots, problems
from cache_server.http.auth import bearer
from cache_server.http.bodies import PipelineBody, PipelineId, ScrubBody, WarmBody
from cache_server.http.door import Door
from cache_server.http.manifests import TICKET_LIFE, Signer, manifest_of
from cache_server.http.policy import policy_routes
from cache_server.service.library import Readable
from cache_server.service.service import Service
from cache_server.service.views import stamp

TENANT = "default"  # until there are others
MAX_AT_ONCE = 64  # files whose URLs the event loop signs itself: 50 µs each
_NOT_KEPT = (CapacityError, DiskError)  # why a pipeline is passed through


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the routes need besides the service."""

    admin_token: str | None  # None: auth is off
    ticket_key: bytes
    advertise: str | None  # host[:port] of the data plane, if it is not that of the request
    data_port: int
    boots: Boots | None = None  # None: reports are not kept


def build(service: Service, wiring: Wiring) -> FastAPI:
    """Return the control plane as an ASGI application."""
    version = importlib.metadata.version("warmline")
    # FastAPI's own pages know no token, and would load a script from elsewhere.
    app = FastAPI(title="Warmline cache node", version=version, openapi_url=None)
    problems.install(app)
    _add_probes(app, service)
    app.add_middleware(Door, check=bearer(wiring.admin_token))
    app.include_router(_pipelines(service))
    app.include_router(policy_routes(service, TENANT))
    app.include_router(_replicas(service, wiring))
    if wiring.boots is not None:
        reports = boots.router(wiring.boots, TENANT, lambda: datetime.now(UTC))
        app.include_router(reports)

    @app.get("/openapi.json", include_in_schema=False)
    def openapi() -> dict[str, Any]:
        """Return the description of this API."""
        return app.openapi()

    return app


def _add_probes(app: FastAPI, service: Service) -> None:
    # On the loop itself: the threads may all wait for a hung disk, and this process still runs.
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that the process runs."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz(response: Response) -> dict[str, str]:
        """Say whether new work should be sent here: all is looked at, and the disk is well."""
        reason = service.unready
        response.status_code = 200 if reason is None else 503
        return {"status": "ready"} if reason is None else {"status": "unready", "reason": reason}


def _pipelines(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["pipelines"])

    @router.put("/pipelines/{pipeline}", status_code=200, responses={201: {"description": "new"}})
    def put(pipeline: PipelineId, body: PipelineBody, response: Response) -> dict[str, Any]:
        """Register a pipeline, or change it; the same twice changes nothing."""
        key = Key(TENANT, pipeline)
        models = tuple(m.spec() for m in body.models)
        new = service.put(key, models, pinned=body.pinned, warm=body.warm)
        response.status_code = 201 if new else 200
        return service.view(key)

    @router.get("/pipelines")
    def list_all() -> dict[str, Any]:
        """Return every pipeline, without its files."""
        return {"pipelines": service.views(TENANT)}

    @router.get("/pipelines/{pipeline}")
    def show(pipeline: str) -> dict[str, Any]:
        """Return one pipeline with its files."""
        return service.view(Key(TENANT, pipeline))

    @router.delete("/pipelines/{pipeline}")
    def remove(pipeline: str, *, force: bool = False) -> dict[str, int]:
        """Forget a pipeline and delete its files."""
        return {"freed": service.remove(Key(TENANT, pipeline), force=force)}

    @router.post("/pipelines/{pipeline}/warm", status_code=202)
    def warm(pipeline: str, body: WarmBody | None = None) -> dict[str, Any]:
        """Start a fill if one is needed, or join the one that runs."""
        key = Key(TENANT, pipeline)
        service.warm(key, refresh=body is not None and body.refresh)
        return service.view(key)

    @router.post("/pipelines/{pipeline}/touch", status_code=204)
    def touch(pipeline: str) -> None:
        """Count a request for the hot window."""
        service.touch(Key(TENANT, pipeline))

    @router.get("/status")
    def status() -> dict[str, Any]:
        """Return the node's own figures."""
        return service.status()

    @router.post("/scrub", status_code=202)
    def scrub(body: ScrubBody | None = None) -> dict[str, Any]:
        """Have every byte on disk checked and repaired, in the background."""
        wanted = body.pipeline if body is not None else None
        return service.scrub(None if wanted is None else Key(TENANT, wanted))

    return router


def _replicas(service: Service, wiring: Wiring) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["replicas"])

    @router.get("/pipelines/{pipeline}/manifest")
    async def manifest(pipeline: str, request: Request) -> JSONResponse:
        """Return the manifest with a lease; a cold slot answers once names and sizes are known."""
        key = Key(TENANT, pipeline)
        generation = await _readable(service, key)
        base = _data_plane(wiring, request)
        signer = Signer(wiring.ticket_key, base, int(time.time()) + TICKET_LIFE)
        lease = service.grant(key, generation)
        if len(generation.files) <= MAX_AT_ONCE:
            document = dump_manifest(manifest_of(generation, lease, signer))
        else:
            document = await asyncio.to_thread(
                lambda: dump_manifest(manifest_of(generation, lease, signer))
            )
        return JSONResponse(document, headers={"Cache-Control": "no-store"})

    @router.put("/leases/{lease}")
    def renew(lease: str) -> dict[str, str | None]:
        """Hold the generation for another term."""
        renewed = service.renew(lease)
        return {"id": renewed.id, "expires": stamp(renewed.expires)}

    @router.delete("/leases/{lease}", status_code=204)
    def give_back(lease: str) -> None:
        """End a hold."""
        service.leases.give_back(lease)

    return router


async def _readable(service: Service, key: Key) -> Readable:
    """Return what a replica can read now: kept, being filled, or, with no room, passed through."""
    # A change of threads costs a turn for the interpreter's lock, among many that fill.
    if (warm := service.warm_now(key)) is not None:
        return warm
    try:
        opening = await asyncio.to_thread(service.ensure, key)
        # Shielded: a caller that leaves must not end the fill that others share.
        generation = await asyncio.shield(asyncio.wrap_future(opening))
    except _NOT_KEPT as error:
        refused: CacheError = error
    else:
        failure = generation.progress.failure  # of an attempt that hangs in a sick disk
        if not isinstance(failure, _NOT_KEPT):
            return generation
        refused = failure
    # Not in a thread: a few origins that are silent would take them all, from warm pipelines too.
    if (asked := await asyncio.to_thread(service.look_up, key)) is not None:
        with suppress(CacheError):  # then ``refused`` is what there is to say
            await asyncio.shield(asyncio.wrap_future(asked))
    return await asyncio.to_thread(service.pass_through, key, refused)


def _data_plane(wiring: Wiring, request: Request) -> str:
    """Return the data plane's URL: as advertised, or at the host that the replica used."""
    address = urlsplit(f"//{wiring.advertise or _host(request)}")
    name, port = address.hostname or "127.0.0.1", wiring.data_port
    if wiring.advertise is not None and address.port is not None:
        port = address.port
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _host(request: Request) -> str:
    host = request.url.hostname or ""
    return f"[{host}]" if ":" in host else host
