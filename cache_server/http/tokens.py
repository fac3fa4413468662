"""Routes of tokens: an admin makes, lists and revokes them."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from cache_protocol.units import parse_duration
from cache_server.catalogue.tokens import Token
from cache_server.core.access import Role
from cache_server.http.access import Operator
from cache_server.http.bodies import PipelineId, lawful, shape
from cache_server.service.identities import Identities
from cache_server.service.views import stamp

MAX_PIPELINES = 1000  # that one token names
Lifetime = Annotated[
    str, Field(max_length=40), lawful(parse_duration), shape("P.*[0-9].*")  # ISO 8601
]


class TokenBody(BaseModel):
    """What a new token is to be."""

    model_config = ConfigDict(extra="forbid")

    role: Role
    pipelines: Annotated[list[PipelineId], Field(min_length=1, max_length=MAX_PIPELINES)] | None = (
        None  # all of the tenant
    )
    name: str = Field("", max_length=100)
    lifetime: Lifetime | None = None  # None: until it is revoked


def token_routes(identities: Identities) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["tokens"])

    @router.post("/tokens", status_code=201)
    def create(body: TokenBody, caller: Operator) -> JSONResponse:
        """Make a token of the caller's tenant. Its text is told this once, and kept nowhere."""
        token, text = identities.create(
            caller.tenant,
            body.role,
            pipelines=None if body.pipelines is None else frozenset(body.pipelines),
            name=body.name,
            lifetime=None if body.lifetime is None else parse_duration(body.lifetime),
        )
        name = token.identity.id
        s3 = {"access_key_id": name, "secret_access_key": identities.s3_secret(name)}
        answer = {**_view(token), "token": text, "s3": s3}
        return JSONResponse(answer, 201, {"Cache-Control": "no-store"})

    @router.get("/tokens")
    def show(_caller: Operator) -> dict[str, Any]:
        """Return the tokens of all tenants, without their secrets."""
        return {"tokens": [_view(token) for token in identities.all()]}

    @router.delete("/tokens/{token}", status_code=204)
    def revoke(token: str, _caller: Operator) -> None:
        """End a token at once; what its holder was given before runs out by itself."""
        identities.revoke(token)

    return router


def _view(token: Token) -> dict[str, Any]:
    who = token.identity
    return {
        "id": who.id,
        "tenant": who.tenant,
        "role": who.role.value,
        "pipelines": None if who.pipelines is None else sorted(who.pipelines),
        "name": token.name,
        "created": _stamp(token.created),
        "expires": _stamp(token.expires),
    }


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else stamp(moment)
