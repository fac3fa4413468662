"""Who may do what: roles, the rights they carry, and whose pipelines they reach. Pure.

    admin      everything, in every tenant
    deployer   registers, warms, evicts, pins and removes pipelines of its tenant
    replica    reads the weights of pipelines of its tenant, looks at one before, reports its boots,
               leaves plans of how its engine reads them
    viewer     looks, and changes nothing

A token can be narrowed to named pipelines of its tenant; all others are then not there for it.
A viewer can be of all tenants, for those who run the node: dashboards, graphs.
"""

from dataclasses import dataclass
from enum import StrEnum

DEFAULT_TENANT = "default"
ALL_TENANTS = "*"  # no tenant has this name: check_pipeline's letters do not have it


class Right(StrEnum):
    """What a call needs."""

    SEE = "see"  # lists, reports, figures of the node
    LOOK = "look"  # at one pipeline, by its name; so that a replica's doctor starts no fill
    CHANGE = "change"  # register, remove, warm, evict, pin, touch, scrub of a pipeline
    READ = "read"  # a manifest, with its lease and tickets; plans of its weights, also to leave one
    REPORT = "report"  # a boot
    OPERATE = "operate"  # what concerns all tenants: tokens, the eviction plan, a whole scrub


class Role(StrEnum):
    """What somebody is."""

    ADMIN = "admin"
    DEPLOYER = "deployer"
    REPLICA = "replica"
    VIEWER = "viewer"


RIGHTS: dict[Role, frozenset[Right]] = {
    Role.ADMIN: frozenset(Right),
    Role.DEPLOYER: frozenset({Right.SEE, Right.LOOK, Right.CHANGE}),
    Role.REPLICA: frozenset({Right.LOOK, Right.READ, Right.REPORT}),
    Role.VIEWER: frozenset({Right.SEE, Right.LOOK}),
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who is known by a token."""

    id: str  # of the token; no secret
    tenant: str
    role: Role
    pipelines: frozenset[str] | None = None  # None: all of the tenant

    def may(self, right: Right) -> bool:
        """Whether the role carries ``right``."""
        return right in RIGHTS[self.role]

    def acts_for(self, tenant: str) -> bool:
        """Whether it may act in ``tenant``; with ALL_TENANTS, in all at once."""
        return self.role is Role.ADMIN or covers(self.tenant, tenant)

    def reaches(self, pipeline: str) -> bool:
        """Whether ``pipeline`` of a tenant it acts for is there for it."""
        return self.pipelines is None or pipeline in self.pipelines


def covers(tenant: str, of: str) -> bool:
    """Whether who acts for ``tenant`` acts for what is of tenant ``of``."""
    return tenant in (ALL_TENANTS, of)


ROOT = Identity("admin", DEFAULT_TENANT, Role.ADMIN)  # the node's own token; all, with auth off
