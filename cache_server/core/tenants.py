"""Which origins a tenant may use, with which secrets, and how much of the node it may take. Pure.

    hf://org/name          that repository           hf://org/*  hf://llama-*  hf://*
    s3://bucket/prefix     that prefix and all below s3://bucket/team-*        s3://*
    file:///srv/models     that directory and all below                        file:///

``*`` stands at the end alone. What a tenant may not use, an admin may still register for it: that
registration is *vouched* for, and remembered as such, since it is judged again at every fill.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from cache_protocol.errors import ForbiddenError, MalformedError
from cache_protocol.formats import Hazard
from cache_protocol.names import shown
from cache_server.core.access import DEFAULT_TENANT
from cache_server.core.content import ModelSpec
from cache_server.core.sources import Scheme, Source, parse_source

_MAX_SHOWN = 10  # places that an error names


@dataclass(frozen=True, slots=True)
class Place:
    """One line of ``origins``."""

    scheme: Scheme
    name: str  # without a slash at the end; "" is everything below the scheme
    open_ended: bool = False  # whatever begins with ``name``, also in the middle of a word

    def __str__(self) -> str:
        """Return it as it is written in the file."""
        return f"{self.scheme}://{self.name}{'*' if self.open_ended else ''}"

    def covers(self, source: Source) -> bool:
        """Whether ``source`` lies here, as it is written; links are followed elsewhere."""
        name = f"{source.name}/{source.prefix}".rstrip("/")
        if source.scheme is not self.scheme:
            return False
        if self.open_ended:
            return name.startswith(self.name)
        below = self.scheme is not Scheme.HF and name.startswith(f"{self.name}/")
        return below or name == self.name


ANYWHERE = tuple(Place(scheme, "", open_ended=True) for scheme in Scheme)


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much of the node a tenant may take; None: no limit but the node's own."""

    bytes: int | None = None  # of its slots, fills in progress included
    pipelines: int | None = None
    fills: int | None = None  # at once
    connections: int | None = None  # at once, control plane and data plane each


QuotasOf = Callable[[str], Quotas]  # of a tenant, as they are now


def no_quotas(_tenant: str) -> Quotas:
    """Limit nobody."""
    return Quotas()


@dataclass(frozen=True, slots=True)
class Tenant:
    """What one tenant may do. Without a word about it: nothing from outside."""

    name: str
    origins: tuple[Place, ...] = ()
    secrets: frozenset[str] | None = frozenset()  # names that ``credentials`` may give; None: all
    quotas: Quotas = Quotas()
    allow_pickle: bool = False  # whether its pipelines may ask for pickle-based weights
    allow_code: bool = False  # whether its pipelines may ask for the repository's code
    on_demand: bool = False  # whether who reads may have repositories registered by asking for them
    node_credentials: bool = False  # HF_TOKEN and AWS_* of the node, where it names no secret

    def vouched(self) -> "Tenant":
        """Return it with all that an admin may register for it; its quotas stay."""
        return replace(
            self,
            origins=ANYWHERE,
            secrets=None,
            allow_pickle=True,
            allow_code=True,
            node_credentials=True,
        )

    def check(self, spec: ModelSpec) -> None:
        """Judge a model by its words.

        Raises:
            ForbiddenError: its source, its secret or what it allows is not for this tenant. Of a
                secret it does not tell whether there is one of that name.
        """
        if more := spec.allow - self._may_allow():
            switches = " and ".join(sorted(f"allow_{hazard}" for hazard in more))
            raise ForbiddenError(
                f"tenant {self.name} may not say {switches}; have it set for the tenant in "
                "CACHE_SERVER_TENANTS, or let an admin register the pipeline"
            )
        source = parse_source(spec.source)
        if not any(place.covers(source) for place in self.origins):
            raise ForbiddenError(
                f"tenant {self.name} may not use {shown(str(source))}, but {self._places()}; have "
                "it listed in CACHE_SERVER_TENANTS, or let an admin register the pipeline"
            )
        if spec.credentials is not None and not self._knows(spec.credentials):
            raise ForbiddenError(
                f"tenant {self.name} has no secret {shown(spec.credentials)}; have it listed "
                "under its 'secrets' in CACHE_SERVER_TENANTS"
            )

    def _may_allow(self) -> set[Hazard]:
        may = {Hazard.PICKLE: self.allow_pickle, Hazard.CODE: self.allow_code}
        return {hazard for hazard, yes in may.items() if yes}

    def _knows(self, secret: str) -> bool:
        return self.secrets is None or secret in self.secrets

    def _places(self) -> str:
        places = [str(place) for place in self.origins[:_MAX_SHOWN]]
        more = len(self.origins) - len(places)
        return ", ".join(places) + (f" and {more} more" if more else "") or "no origin at all"


class Terms(NamedTuple):
    """For whom an origin is opened."""

    tenant: str
    vouched: bool  # an admin registered the pipeline


class Tenants:
    """All tenants, as the operator listed them or as they are where nobody listed any."""

    def __init__(self, listed: Mapping[str, Tenant] | None = None) -> None:
        """Args: listed: None where the operator lists none: then ``unlisted`` speaks."""
        self._listed = listed

    def of(self, name: str) -> Tenant:
        """Return what tenant ``name`` may do; one that is missing in a list may use no origin."""
        if self._listed is None:
            return unlisted(name)
        return self._listed.get(name) or Tenant(name)


def unlisted(name: str) -> Tenant:
    """Return what a tenant may do on a node whose operator lists none.

    Public repositories, for everybody; with the node's own credentials for the tenant that is
    there without a word about tenants. Buckets and directories are an admin's to register.
    """
    return Tenant(
        name,
        origins=(Place(Scheme.HF, "", open_ended=True),),
        allow_pickle=True,
        allow_code=True,
        node_credentials=name == DEFAULT_TENANT,
    )


def parse_place(text: str) -> Place:
    """Return the place that a line of ``origins`` names.

    Raises:
        MalformedError: none of the forms above.
    """
    scheme, separator, rest = text.partition("://")
    known = separator and scheme in tuple(Scheme) and text.isprintable() and len(text) <= 2048
    stem = rest.removesuffix("*")
    if not known or "*" in stem or "@" in stem or ".." in stem.split("/"):
        raise MalformedError(
            f"{shown(text)} is not a place such as hf://org/*, s3://bucket/prefix/* or "
            "file:///srv/models; '*' stands at its end alone"
        )
    return _place(Scheme(scheme), stem, starred=stem != rest, text=text)


def _place(scheme: Scheme, stem: str, *, starred: bool, text: str) -> Place:
    # "/*" after a bucket, a prefix or a directory says what these say without it.
    whole = not starred or stem.endswith("/")
    if scheme is Scheme.HF:
        if not starred:
            parse_source(text)
        return Place(scheme, stem, open_ended=starred)
    if scheme is Scheme.FILE:
        if not stem.startswith("/") or not whole:
            raise MalformedError(f"{shown(text)} must be file:///absolute/directory")
        return Place(scheme, stem.rstrip("/"))
    if whole and not stem.strip("/"):
        raise MalformedError(f"{shown(text)} names no bucket; all of them are s3://*")
    return Place(scheme, stem.rstrip("/") if whole else stem, open_ended=not whole)
