"""From a model as the operator registered it to the adapter that knows its origin."""

from collections.abc import Sequence
from pathlib import Path

from cache_protocol.errors import MalformedError
from cache_server.core.content import ModelSpec
from cache_server.core.sources import Scheme, Source, parse_source
from cache_server.core.tenants import Tenant
from cache_server.origins.connections import Connections
from cache_server.origins.credentials import read_secret
from cache_server.origins.directory import DirectoryOrigin
from cache_server.origins.discreet import DiscreetOrigin
from cache_server.origins.grounds import Grounds
from cache_server.origins.hub_session import use_one_attempt
from cache_server.origins.huggingface import HuggingFaceOrigin
from cache_server.origins.ranged_http import RangedClient
from cache_server.origins.s3 import S3Origin
from cache_server.origins.settings import OriginSettings
from cache_server.ports import Origin


def open_origin(
    spec: ModelSpec, settings: OriginSettings, tenant: Tenant, *, closed: Sequence[Path] = ()
) -> Origin:
    """Return the origin of ``spec``. Asks nobody yet: wrong words fail here, absence later.

    Args:
        spec: a model that ``tenant`` may use, by its words.
        settings: of all origins.
        tenant: for whom; says where directories may really lie, and whose credentials count.
        closed: directories that are nobody's origin.

    Raises:
        MalformedError: the source is none, names a revision where there are none, or names a
            secret that the operator did not configure.
    """
    source = parse_source(spec.source)
    if source.scheme is not Scheme.HF and spec.revision is not None:
        raise MalformedError(f"{source} has no revisions; only hf:// sources do")
    match source.scheme:
        case Scheme.FILE:
            return DirectoryOrigin(source.name, Grounds.of(tenant, closed).check)
        case Scheme.S3:
            secret = _secret_of_bucket(spec.credentials, settings, tenant)
            origin: Origin = S3Origin(source.name, source.prefix, secret=secret, settings=settings)
            return DiscreetOrigin(origin, settings.secrets.union((secret or {}).values()))
        case Scheme.HF:
            token = _token(spec.credentials, settings, tenant)
            origin = _hugging_face(source, spec.revision, settings, token)
            return DiscreetOrigin(origin, settings.secrets.union([token] if token else []))


def _secret_of_bucket(
    credentials: str | None, settings: OriginSettings, tenant: Tenant
) -> dict[str, str] | None:
    """Return what ``S3Origin`` is to sign with."""
    if credentials is None:
        return {} if tenant.node_credentials else None
    return read_secret(
        settings.secrets_dir,
        credentials,
        required=("access_key_id", "secret_access_key"),
        optional=("session_token", "endpoint_url", "region"),
    )


def _token(credentials: str | None, settings: OriginSettings, tenant: Tenant) -> str | None:
    if credentials is None:
        return settings.hf_token if tenant.node_credentials else None
    return read_secret(settings.secrets_dir, credentials, required=("token",))["token"]


def _hugging_face(
    source: Source, revision: str | None, settings: OriginSettings, token: str | None
) -> Origin:
    use_one_attempt(connect_timeout=settings.connect_timeout, stall_timeout=settings.stall_timeout)
    connections = Connections(
        connect_timeout=settings.connect_timeout,
        stall_timeout=settings.stall_timeout,
        reach=settings.reach,
        proxies=settings.proxies,
    )
    return HuggingFaceOrigin(
        source.name,
        revision or source.revision,
        endpoint=settings.hf_endpoint,
        token=token,
        client=RangedClient(connections),
    )
