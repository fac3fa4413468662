"""Routes about pipelines: register, look at, remove, warm, touch, scrub; and the node's figures."""

from collections.abc import Callable, Iterable
from typing import Any

from fastapi import APIRouter, Response

from cache_server.catalogue.registry import Key
from cache_server.core.access import Right, Role
from cache_server.core.content import ModelSpec
from cache_server.core.tenants import Terms
from cache_server.http.access import Caller, Changer, Viewer, Visitor
from cache_server.http.bodies import PipelineBody, PipelineId, ScrubBody, WarmBody
from cache_server.http.scrubbing import shown_to
from cache_server.service.service import Service

# Judges what is registered, see origins.admission: ForbiddenError, MalformedError.
CheckModels = Callable[[Iterable[ModelSpec], Terms], None]


def pipeline_routes(service: Service, check: CheckModels) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["pipelines"])

    @router.put("/pipelines/{pipeline}", status_code=200, responses={201: {"description": "new"}})
    def put(
        pipeline: PipelineId, body: PipelineBody, caller: Changer, response: Response
    ) -> dict[str, Any]:
        """Register a pipeline, or change it; the same twice changes nothing."""
        key = caller.key(pipeline)
        models = tuple(m.spec() for m in body.models)
        vouched = caller.identity.role is Role.ADMIN
        # As an admin left it anybody may put it again: a deployment says the same each time.
        if vouched or not service.pipelines.stands(key, models):
            check(models, Terms(key.tenant, vouched))
        new = service.pipelines.put(
            key, models, pinned=body.pinned, warm=body.warm, vouched=vouched
        )
        response.status_code = 201 if new else 200
        return service.figures.view(key)

    @router.get("/pipelines")
    def list_all(caller: Viewer) -> dict[str, Any]:
        """Return every pipeline that is there for the caller, without its files."""
        views = service.figures.views(caller.tenant)
        return {"pipelines": [v for v in views if caller.identity.reaches(v["id"])]}

    @router.get("/pipelines/{pipeline}")
    def show(pipeline: str, caller: Visitor) -> dict[str, Any]:
        """Return one pipeline with its files."""
        return service.figures.view(caller.key(pipeline))

    @router.delete("/pipelines/{pipeline}")
    def remove(pipeline: str, caller: Changer, *, force: bool = False) -> dict[str, int]:
        """Forget a pipeline and delete its files."""
        return {"freed": service.removal.remove(caller.key(pipeline), force=force)}

    @router.post("/pipelines/{pipeline}/warm", status_code=202)
    def warm(pipeline: str, caller: Changer, body: WarmBody | None = None) -> dict[str, Any]:
        """Start a fill if one is needed, or join the one that runs."""
        key = caller.key(pipeline)
        service.warm(key, refresh=body is not None and body.refresh)
        return service.figures.view(key)

    @router.post("/pipelines/{pipeline}/touch", status_code=204)
    def touch(pipeline: str, caller: Changer) -> None:
        """Count a request for the hot window."""
        service.touch(caller.key(pipeline))

    @router.get("/status")
    def status(caller: Viewer) -> dict[str, Any]:
        """Return the node's own figures, which name no pipeline of another tenant."""
        status = service.figures.status()
        return status | {"scrub": shown_to(caller, status["scrub"])}

    @router.post("/scrub", status_code=202)
    def scrub(caller: Changer, body: ScrubBody | None = None) -> dict[str, Any]:
        """Have every byte on disk checked and repaired, in the background."""
        return shown_to(caller, service.scrub(_wanted(caller, body)))

    return router


def _wanted(caller: Caller, body: ScrubBody | None) -> Key | None:
    """Return what is to be looked at; that of all tenants is not everybody's to ask for."""
    if body is None or body.pipeline is None:
        caller.require(Right.OPERATE)
        return None
    return caller.key(body.pipeline)
