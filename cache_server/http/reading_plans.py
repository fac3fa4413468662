"""Routes of plans: how ranks of engines read a model, told by replicas and asked for by others.

Who may read the weights may read and leave plans of them. What is left is a prediction: the
engine that is given one traces again, and believes it only where it is the same.
"""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from cache_protocol.plans import dump_key
from cache_server.http.access import Reader
from cache_server.http.plan_readers import PlanReaders
from cache_server.service.service import Service
from cache_server.service.views import stamp
from cache_server.store.plan_index import Record

_NO_STORE = {"Cache-Control": "no-store"}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


async def _body(request: Request) -> bytes:
    """Return the body as it came: the event loop is no place to parse a plan."""
    return await request.body()


def plan_routes(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/pipelines/{pipeline}/plans/{model}", tags=["replicas"])
    readers = PlanReaders(service.plans.check)

    @router.get("")
    async def show(pipeline: str, model: str, caller: Reader) -> dict[str, Any]:
        """Return which plans there are of the weights that are kept; starts nothing."""
        records = await readers.ask(partial(service.plans.all, caller.key(pipeline), model))
        return {"plans": [_view(r) for r in records]}

    @router.get("/{digest}")
    async def read(pipeline: str, model: str, digest: str, caller: Reader) -> Response:
        """Return one plan."""
        key = caller.key(pipeline)
        document = await readers.ask(partial(service.plans.read, key, model, digest))
        return Response(document, headers=_NO_STORE, media_type="application/json")

    @router.put("/{digest}", status_code=204, openapi_extra=_BODY)
    def put(
        pipeline: str,
        model: str,
        digest: str,
        caller: Reader,
        body: Annotated[bytes, Depends(_body)],
    ) -> None:
        """Keep a plan whose key has this digest, in the place of another one."""
        service.plans.put(caller.key(pipeline), model, digest, body)

    return router


def _view(record: Record) -> dict[str, Any]:
    return {
        "digest": record.key.digest,
        "fingerprint": record.fingerprint,
        "key": dump_key(record.key),
        "bytes": record.size,
        "stored": stamp(record.stored),
    }
