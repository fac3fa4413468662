"""The route of tickets: an operator has them signed with a fresh key."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from cache_server.http.access import Operator
from cache_server.store.ticket_keys import TicketKeys


class RotateBody(BaseModel):
    """How to rotate."""

    model_config = ConfigDict(extra="forbid", strict=True)

    revoke: bool = False  # refuse every ticket that was given out


def ticket_routes(tickets: TicketKeys) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/v1", tags=["tickets"])

    @router.post("/tickets/rotate")
    def rotate(_caller: Operator, body: RotateBody | None = None) -> dict[str, Any]:
        """Sign tickets with a fresh key; older ones are accepted until they run out, or revoked."""
        ring = tickets.rotate(revoke=body is not None and body.revoke)
        return {"key": ring.keys[0].key.id, "accepted": [dated.key.id for dated in ring.keys]}

    return router
