"""Templates to HTML. All but our own markup is escaped; a name that is missing is an error."""

import importlib.metadata
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from cache_protocol.units import show_size
from cache_server.catalogue.registry import Key
from cache_server.core.chip_words import moment
from cache_server.dashboard import words
from cache_server.service.views import stamp


class Templates:
    """The templates of this package."""

    def __init__(self, asset: Callable[[str], str]) -> None:
        """Load nothing yet; ``asset`` returns the URL of a static file."""
        self._environment = Environment(
            loader=PackageLoader("cache_server.dashboard"),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            size=show_size, span=words.span, moment=moment, stamp=stamp, at=_instant
        )
        self._environment.globals.update(
            asset=asset,
            chips_of=words.chips,
            progress=words.progress,
            count=words.count,
            cost=words.cost,
            path=pipeline_path,
            path_of=lambda tenant, name: pipeline_path(Key(tenant, name)),
            anchor=anchor,
            version=importlib.metadata.version("warmline"),
        )

    def render(self, name: str, context: Mapping[str, Any]) -> str:
        """Return the template ``name`` with ``context`` in it."""
        return self._environment.get_template(name).render(context)


def pipeline_path(key: Key, action: str = "", **query: str) -> str:
    """Return the address of a pipeline's page, or of one of its actions."""
    fields = {"tenant": key.tenant, **query}
    given = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())
    return f"/pipelines/{quote(key.id, safe='')}{'/' if action else ''}{action}?{given}"


def anchor(kind: str, key: Key) -> str:
    """Return the id of an element that speaks of ``key``; no two keys have one in common."""
    return f"{kind}-{key.tenant}/{key.id}"


def _instant(text: str) -> datetime:
    """Return the instant that an RFC 3339 text names."""
    return datetime.fromisoformat(text)
