"""``GET /metrics``: for Prometheus, with the token of an admin, or of a viewer of all tenants."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from cache_protocol.errors import ForbiddenError
from cache_server.core.access import ALL_TENANTS
from cache_server.http.access import Caller, Viewer
from cache_server.metrics.exposition import Metrics


def of_all_tenants(caller: Viewer) -> Caller:
    """Return who looks at all tenants; ForbiddenError for anybody else: names are in there."""
    identity = caller.identity
    if not identity.acts_for(ALL_TENANTS) or identity.pipelines is not None:
        raise ForbiddenError(
            "metrics name the pipelines of all tenants: they are for an admin, or for a viewer of "
            "all; make one with: cache-server tokens create --role viewer --tenant '*'"
        )
    return caller


Watcher = Annotated[Caller, Depends(of_all_tenants)]


def metric_routes(metrics: Metrics) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["metrics"])

    @router.get("/metrics", response_class=Response)
    def show(_caller: Watcher) -> Response:
        """Return all metrics in Prometheus' text format."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router
