"""Routes about who stays and who goes: evict, pin, and what an eviction would do."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from cache_server.http.access import Changer, Operator
from cache_server.http.bodies import EvictBody
from cache_server.service.service import Service

MAX_NEED = 2**53 - 1  # bytes; what a number of JSON carries, 9 PB


def policy_routes(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["policy"])

    @router.post("/pipelines/{pipeline}/evict")
    def evict(pipeline: str, caller: Changer, body: EvictBody | None = None) -> dict[str, int]:
        """Delete what is kept of a pipeline; it stays registered, and is pulled anew if asked."""
        force = body is not None and body.force
        return {"freed": service.removal.evict(caller.key(pipeline), force=force)}

    @router.put("/pipelines/{pipeline}/pin")
    def pin(pipeline: str, caller: Changer) -> dict[str, Any]:
        """Keep a pipeline: the policy never evicts it."""
        key = caller.key(pipeline)
        service.pipelines.pin(key, pinned=True)
        return service.figures.view(key)

    @router.delete("/pipelines/{pipeline}/pin")
    def unpin(pipeline: str, caller: Changer) -> dict[str, Any]:
        """Let the policy decide again."""
        key = caller.key(pipeline)
        service.pipelines.pin(key, pinned=False)
        return service.figures.view(key)

    @router.get("/eviction-plan")
    def eviction_plan(
        _caller: Operator, need: Annotated[int, Query(ge=0, le=MAX_NEED)]
    ) -> dict[str, Any]:
        """Return who would go, of all tenants, for ``need`` bytes, in order. Nothing happens."""
        return service.removal.plan(need)

    return router
