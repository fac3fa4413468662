"""Routes of replicas: the manifest that comes with a lease, and the lease."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from cache_protocol.errors import GenerationGoneError
from cache_protocol.local import Offer
from cache_protocol.manifest import TICKET_LIFE, Lease, dump_manifest
from cache_server.http.access import Caller, Reader
from cache_server.http.manifests import Signer, manifest_of
from cache_server.http.opening import readable
from cache_server.service.library import Readable
from cache_server.service.service import Service
from cache_server.service.views import stamp
from cache_server.store.ticket_keys import TicketKeys

MAX_AT_ONCE = 64  # files whose URLs the event loop signs itself: 50 µs each


@dataclass(frozen=True, slots=True)
class DataAddress:
    """Where replicas read bytes, and what opens it to them."""

    tickets: TicketKeys
    advertise: str | None  # host[:port] of the data plane, if it is not that of the request
    port: int
    scheme: str = "http"
    local: Offer | None = None  # where replicas on the node's own host are lent files


def replica_routes(service: Service, data: DataAddress) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["replicas"])

    @router.get("/pipelines/{pipeline}/manifest")
    async def manifest(pipeline: str, caller: Reader, request: Request) -> JSONResponse:
        """Return the manifest with a lease; a cold slot answers once names and sizes are known."""
        key = caller.key(pipeline)
        generation = await readable(service, key)
        lease = service.grant(key, generation)
        return await _signed(generation, lease, _signer(data, request), data.local)

    @router.get("/leases/{lease}/manifest")
    async def manifest_of_lease(lease: str, caller: Reader, request: Request) -> JSONResponse:
        """Hold for another term; return the manifest of what is held, with fresh tickets."""
        generation = service.held(lease) if _holds(service, lease, caller) else None
        if generation is None:
            raise _run_out()
        renewed = service.renew(lease)
        return await _signed(generation, renewed, _signer(data, request), data.local)

    @router.put("/leases/{lease}")
    def renew(lease: str, caller: Reader) -> dict[str, str | None]:
        """Hold the generation for another term."""
        if not _holds(service, lease, caller):
            raise _run_out()
        renewed = service.renew(lease)
        return {"id": renewed.id, "expires": stamp(renewed.expires)}

    @router.delete("/leases/{lease}", status_code=204)
    def give_back(lease: str, caller: Reader) -> None:
        """End a hold; one that has ended is fine."""
        if _holds(service, lease, caller):
            service.leases.give_back(lease)

    return router


def _run_out() -> GenerationGoneError:
    return GenerationGoneError("the lease has run out; ask for the manifest again")


def _signer(data: DataAddress, request: Request) -> Signer:
    return Signer(data.tickets(), data_plane(data, request), int(time.time()) + TICKET_LIFE)


async def _signed(
    generation: Readable, lease: Lease, signer: Signer, local: Offer | None
) -> JSONResponse:
    def document() -> dict[str, Any]:
        return dump_manifest(manifest_of(generation, lease, signer, local))

    few = len(generation.files) <= MAX_AT_ONCE
    signed = document() if few else await asyncio.to_thread(document)
    return JSONResponse(signed, headers={"Cache-Control": "no-store"})


def _holds(service: Service, lease: str, caller: Caller) -> bool:
    """Whether ``lease`` is on content that is there for the caller."""
    holder = service.leases.holder(lease)
    return holder is not None and caller.reaches(holder)


def data_plane(data: DataAddress, request: Request) -> str:
    """Return the data plane's URL: as advertised, or at the host that the replica used."""
    address = urlsplit(f"//{data.advertise or _host(request)}")
    name, port = address.hostname or "127.0.0.1", data.port
    if data.advertise is not None and address.port is not None:
        port = address.port
    return f"{data.scheme}://{f'[{name}]' if ':' in name else name}:{port}"


def _host(request: Request) -> str:
    host = request.url.hostname or ""
    return f"[{host}]" if ":" in host else host
