"""pipelines.yaml: many registrations in one file, for start-up and for ``pipelines put --file``.

pipelines:
  - id: voice
    pinned: true
    warm: true
    models:
      - {name: asr, source: hf://org/asr, exclude: ["*.md"]}
      - {name: llm, source: s3://bucket/llm}
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from cache_protocol.errors import MalformedError
from cache_server.core.content import ModelSpec
from cache_server.http.bodies import PipelineBody

MAX_SIZE = 4 * 2**20  # bytes; a few thousand pipelines


class _Entry(PipelineBody):
    id: str


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    pipelines: list[_Entry]


@dataclass(frozen=True, slots=True)
class PipelineEntry:
    """One pipeline of the file."""

    id: str
    models: tuple[ModelSpec, ...]
    pinned: bool | None
    body: PipelineBody  # as the API takes it


def read_pipelines(path: Path) -> list[PipelineEntry]:
    """Return the pipelines of ``path``.

    Raises:
        MalformedError: cannot be read, is too large, is not YAML, or a field is wrong; says
            which.
    """
    try:
        if path.stat().st_size > MAX_SIZE:
            raise MalformedError(f"{path} is above {MAX_SIZE} bytes")
        entries = _File.model_validate(_mapping(path)).pipelines
    except OSError as error:
        raise MalformedError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        where = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:10]
        )
        raise MalformedError(f"{path}: {where}") from error
    # ValueError: a text that looks like a date and is none, such as 2030-99-99.
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise MalformedError(f"{path} is not YAML: {error}") from error
    if twice := [i for i, n in Counter(e.id for e in entries).items() if n > 1]:
        raise MalformedError(f"{path}: pipeline {twice[0]} is there twice")
    return [
        PipelineEntry(
            e.id,
            tuple(m.spec() for m in e.models),
            e.pinned,
            PipelineBody(models=e.models, pinned=e.pinned, warm=e.warm),
        )
        for e in entries
    ]


def _mapping(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_bytes())
    if not isinstance(document, dict):
        raise MalformedError(f"{path} does not begin with 'pipelines:'")
    return document
