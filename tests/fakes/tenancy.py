"""A node without processes, whose tenants a test lists: service, control plane, real origins."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cache_server.core.tenants import Tenant, Tenants, parse_place
from cache_server.origins.admission import Admission
from cache_server.origins.settings import OriginSettings
from tests.fakes.control_plane import Answer, ControlPlane, control_plane
from tests.fakes.service import Bench, running_service


def tenant(name: str, *places: object, **more: object) -> Tenant:
    """Return a tenant that may use ``places``."""
    return Tenant(name, tuple(parse_place(str(place)) for place in places), **more)


class TenantsNode:
    """Short ways to act for a tenant."""

    def __init__(self, plane: ControlPlane, bench: Bench, directory: Path) -> None:
        self.plane, self.bench, self.directory = plane, bench, directory

    def token(self, tenant: str, role: str = "deployer") -> str:
        headers = {"Warmline-Tenant": tenant}
        return self.plane.ask("POST", "/v1/tokens", {"role": role}, headers=headers).json["token"]

    def put(self, token: str | None, pipeline: str, source: object, **model: object) -> Answer:
        """Register ``source``; None: as the node's admin."""
        body = {"models": [{"name": "m", "source": str(source), **model}]}
        who = {} if token is None else {"token": token}
        return self.plane.ask("PUT", f"/v1/pipelines/{pipeline}", body, **who)


@contextmanager
def node_of_tenants(
    directory: Path, tenants: Mapping[str, Tenant], settings: OriginSettings | None = None
) -> Iterator[TenantsNode]:
    """Run a node below ``directory``; ``tenants`` is looked up at each use, as a file would be."""

    def tenant_of(name: str) -> Tenant:
        return Tenants(tenants).of(name)

    root = directory / "root"
    admission = Admission(tenant_of, settings or OriginSettings(), closed=[root])
    with (
        running_service(root, admission.open) as bench,
        control_plane(bench.service, tenants=tenant_of) as plane,
    ):
        bench.reconciled()
        yield TenantsNode(plane, bench, directory)
