"""Where directories that are origins may really lie, whatever links lead there.

A word such as ``file:///srv/models/llm`` says little: any part of it may be a link, and may become
one later. So the real path is judged each time that a directory is opened.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cache_protocol.errors import ForbiddenError, MalformedError
from cache_protocol.names import shown
from cache_server.core.sources import Scheme
from cache_server.core.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Grounds:
    """Real paths, without a slash at the end."""

    open: tuple[str, ...]  # a source lies at or below one of these
    closed: tuple[str, ...]  # and neither below nor above any of these

    @classmethod
    def of(cls, tenant: Tenant, closed: Sequence[Path]) -> Self:
        """Return where directories of ``tenant`` may lie; ``closed`` are the node's own."""
        listed = [p.name for p in tenant.origins if p.scheme is Scheme.FILE]
        return cls(
            tuple(_real(name or "/") for name in listed),
            tuple(_real(str(path)) for path in closed),
        )

    def check(self, directory: str) -> None:
        """Judge a directory, which need not exist.

        Raises:
            MalformedError: it holds what belongs to the node itself, or lies in it.
            ForbiddenError: it is not listed for the tenant.
        """
        real = _real(directory)
        if any(_lies_in(real, own) or _lies_in(own, real) for own in self.closed):
            raise MalformedError(
                f"directory {shown(directory)} holds what belongs to the node itself, such as its "
                "cache and its keys, or lies in it; name another one"
            )
        if not any(_lies_in(real, place) for place in self.open):
            raise ForbiddenError(
                f"directory {shown(directory)} really lies outside of those that are listed for "
                "this tenant in CACHE_SERVER_TENANTS: it, or one above it, is a link"
            )


def _real(path: str) -> str:
    return os.path.realpath(path).rstrip("/")


def _lies_in(real: str, place: str) -> bool:
    return real == place or real.startswith(f"{place}/")
