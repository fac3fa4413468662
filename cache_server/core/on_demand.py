"""Pipelines that nobody put: one for each repository and revision that was asked for. Pure.

    hf-org-name-3f9a1c20-b5d4e2f1        a name for people, the repository, the revision

The id follows from what was asked, so that everybody who asks for the same meets in one slot, after
a restart too, and an operator sees in a list what came by itself.
"""

import hashlib
import re

from cache_server.core.content import ModelSpec
from cache_server.core.sources import Scheme

MODEL = "model"  # what the one model is called, in manifests and in the keys of S3
_WORDS = 60  # characters of the name for people; an id has at most 100


def wanted(repository: str, revision: str) -> ModelSpec:
    """Return what a pipeline for ``repository`` at ``revision`` consists of; nothing is checked."""
    return ModelSpec(MODEL, f"{Scheme.HF}://{repository}", revision=revision)


def pipeline_of(repository: str, revision: str) -> str:
    """Return the id of the pipeline for ``repository`` at ``revision``."""
    words = re.sub(r"[^a-z0-9._-]+", "-", repository.lower())[:_WORDS]
    return f"{Scheme.HF}-{words}-{_short(repository)}-{_short(revision)}"


def asked_for(pipeline: str, models: tuple[ModelSpec, ...]) -> str | None:
    """Return the repository that ``pipeline`` came by itself for; None: somebody put it."""
    if len(models) != 1 or models[0].revision is None:
        return None
    repository = models[0].source.removeprefix(f"{Scheme.HF}://")
    if (wanted(repository, models[0].revision),) != models:
        return None
    return repository if pipeline_of(repository, models[0].revision) == pipeline else None


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
