"""Where everything is asked for: paths of the control plane and of the data plane.

The data plane has three resources per file of a generation:

    /files/<generation>/<model>/<path>      its bytes
    /digests/<generation>/<model>/<path>    16 bytes per chunk, see ``digests``
    /verdicts/<generation>/<model>/<path>   48 bytes that confirm the file, see ``digests``
"""

from typing import NamedTuple
from urllib.parse import quote, unquote

from cache_protocol.errors import MalformedError

PIPELINES = "/v1/pipelines"
LEASES = "/v1/leases"
STATUS = "/v1/status"
EVICTION_PLAN = "/v1/eviction-plan"
TOKENS = "/v1/tokens"
SCRUB = "/v1/scrub"
BOOTS = "/v1/boots"
BOOT_STATS = "/v1/boots/stats"
EVENTS = "/v1/events"
LIVE, READY = "/healthz", "/readyz"
ROTATE_TICKETS = "/v1/tickets/rotate"
FILES, DIGESTS, VERDICTS = "files", "digests", "verdicts"


class Resource(NamedTuple):
    """What a path of the data plane names."""

    kind: str  # FILES, DIGESTS or VERDICTS
    generation: str
    model: str
    path: str  # of the file inside its model


def pipeline(pipeline_id: str, action: str = "") -> str:
    """Return the path of a pipeline, or of one of its actions such as ``manifest``."""
    base = f"{PIPELINES}/{quote(pipeline_id, safe='')}"
    return f"{base}/{action}" if action else base


def plans(pipeline_id: str, model: str) -> str:
    """Return the path of the plans of one model."""
    return pipeline(pipeline_id, f"plans/{quote(model, safe='')}")


def plan(pipeline_id: str, model: str, digest: str) -> str:
    """Return the path of the plan whose key has ``digest``."""
    return f"{plans(pipeline_id, model)}/{quote(digest, safe='')}"


def lease(lease_id: str) -> str:
    """Return the path of a lease."""
    return f"{LEASES}/{quote(lease_id, safe='')}"


def lease_manifest(lease_id: str) -> str:
    """Return the path of the manifest of what a lease holds."""
    return f"{lease(lease_id)}/manifest"


def resource_path(resource: Resource) -> str:
    """Return the URL path of ``resource``; it ends in the file's own name."""
    kind, generation, model, path = resource
    return f"/{kind}/{generation}/{quote(model, safe='')}/{quote(path)}"


def parse_resource(path: str) -> Resource:
    """Return what a URL path of the data plane names.

    Raises:
        MalformedError: it names nothing of the kind.
    """
    parts = path.split("/", 4)
    if len(parts) != 5 or parts[0] or parts[1] not in (FILES, DIGESTS, VERDICTS) or not parts[4]:
        raise MalformedError("the path is not /files/<generation>/<model>/<path> or its like")
    _, kind, generation, model, name = parts
    return Resource(kind, generation, unquote(model), unquote(name))
