"""Whose pipelines may use which origins: judged when they are registered, and at every opening.

    tenants file ──┐
    Tenant.check   words: source and secret are listed      core/tenants
    Grounds.check  where a directory really lies            grounds
    dial           which address a host really has          dialling

The second judgement is why a source that is taken off the list is not pulled any more, although
it was registered while it stood there. What is on disk already stays, until it is removed.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cache_protocol.errors import ForbiddenError, OriginDeniedError
from cache_server.core.content import ModelSpec
from cache_server.core.sources import Scheme, parse_source
from cache_server.core.tenants import Tenant, Terms
from cache_server.origins.grounds import Grounds
from cache_server.origins.open import open_origin
from cache_server.origins.settings import OriginSettings
from cache_server.ports import Origin


class Admission:
    """Judges and opens. Safe for threads."""

    def __init__(
        self,
        tenant_of: Callable[[str], Tenant],
        settings: OriginSettings,
        *,
        closed: Sequence[Path],
    ) -> None:
        """Prepare.

        Args:
            tenant_of: what a tenant may do now.
            settings: of all origins.
            closed: the node's own directories, which are nobody's origin.
        """
        self._tenant_of = tenant_of
        self._settings = settings
        self._closed = closed

    def check(self, models: Iterable[ModelSpec], terms: Terms) -> None:
        """Judge what somebody registers. Asks no origin.

        Raises:
            ForbiddenError: a source or a secret that is not for the tenant.
            MalformedError: a directory of the node itself.
        """
        tenant = self._tenant(terms)
        for spec in models:
            tenant.check(spec)
            source = parse_source(spec.source)
            if source.scheme is Scheme.FILE:
                Grounds.of(tenant, self._closed).check(source.name)

    def open(self, spec: ModelSpec, terms: Terms) -> Origin:
        """Return the origin of ``spec``; see ``ports.OpenOrigin``.

        Raises:
            OriginDeniedError: it is not for the tenant, or no longer.
            MalformedError: see ``open_origin``.
        """
        tenant = self._tenant(terms)
        try:
            tenant.check(spec)
        except ForbiddenError as error:
            raise OriginDeniedError(str(error)) from error
        return open_origin(spec, self._settings, tenant, closed=self._closed)

    def _tenant(self, terms: Terms) -> Tenant:
        tenant = self._tenant_of(terms.tenant)
        return tenant.vouched() if terms.vouched else tenant
