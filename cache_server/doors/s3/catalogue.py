"""The objects of one generation by key. Pure.

A key is ``<model>/<path>``: names of models have no slash, so that the first one divides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cache_protocol.formats import Hazard
from cache_server.core.content import Content, OriginFile
from cache_server.doors.s3.conditions import Shape

UNDATED = datetime(1970, 1, 1, tzinfo=UTC)  # of what nobody keeps


@dataclass(frozen=True, slots=True)
class Object:
    """One file, as S3 sees it."""

    model: str
    file: OriginFile
    shape: Shape


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All objects of a generation."""

    keys: tuple[str, ...]  # in the order of listings
    objects: Mapping[str, Object]
    left_out: Mapping[str, Hazard]  # keys of what stayed at its origin


def catalogue_of(generation: str, content: Content, modified: datetime) -> Catalogue:
    """Return the objects of ``content``, whose id is ``generation``."""
    modified = modified.replace(microsecond=0)  # what the header can say
    objects = {
        f"{model.name}/{file.path}": Object(
            model.name, file, Shape(file.size, etag_of(generation, index), modified)
        )
        for index, (model, file) in enumerate(content.files())
    }
    left_out = {f"{m.name}/{out.path}": out.why for m in content.models for out in m.left_out}
    return Catalogue(tuple(sorted(objects)), objects, left_out)


def etag_of(generation: str, index: int) -> str:
    """Return the tag of a file: that of the data plane, however the file is read.

    It looks like that of an object in parts, so that no client takes it for an MD5.
    """
    return f'"{generation}-{index}"'
