"""What the content of a slot looks like from the hub: repositories at one commit each. Pure.

Models of one repository that were resolved to one commit are one repository: their files lie side
by side, as they do at their origin.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cache_server.core.commits import commit_of, repository_of, tag_of
from cache_server.core.content import Content, ModelContent, ModelSpec, OriginFile
from cache_server.core.sources import parse_source
from cache_server.doors.hub.address import DEFAULT_REVISION

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a repository."""

    model: str
    origin: OriginFile
    tag: str  # sha256 of what the hub calls LFS, or else 40 digits

    @property
    def is_lfs(self) -> bool:
        """Whether clients take the tag for a sha256."""
        return self.origin.sha256 is not None


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository as this slot has it."""

    id: str
    commit: str
    names: frozenset[str]  # revisions that an operator registered, and that led here
    files: Mapping[str, Entry]  # by path, in order


def repositories(content: Content, specs: Sequence[ModelSpec]) -> list[Repository]:
    """Return every repository of ``content``, which ``specs`` were resolved to; in their order."""
    generation, named = content.generation, {spec.name: _revision(spec) for spec in specs}
    found: dict[tuple[str, str], list[ModelContent]] = {}
    for model in content.models:
        found.setdefault(place_of(generation, content, model), []).append(model)
    return [
        Repository(
            repository,
            commit,
            frozenset(name for m in models if (name := named.get(m.name)) is not None),
            _files(models),
        )
        for (repository, commit), models in found.items()
    ]


def place_of(generation: str, content: Content, model: ModelContent) -> tuple[str, str]:
    """Return the repository and the commit that ``model`` of ``generation`` belongs to."""
    return repository_of(content.pipeline, model), commit_of(generation, model)


def at(found: Iterable[Repository], revision: str) -> Repository | None:
    """Return the one of ``found`` that ``revision`` names; all have the same id.

    A commit and a revision that was registered name their own. ``main`` is what clients say who
    were told no revision: the slot decides, and its first model of that repository does.
    """
    of_one = list(found)
    for repository in of_one:
        if revision in (repository.commit, *repository.names):
            return repository
    return of_one[0] if of_one and revision == DEFAULT_REVISION else None


def is_commit(revision: str) -> bool:
    """Whether ``revision`` is a full commit, which never moves."""
    return _COMMIT.fullmatch(revision) is not None


def _revision(spec: ModelSpec) -> str | None:
    return spec.revision or parse_source(spec.source).revision


def _files(models: Iterable[ModelContent]) -> Mapping[str, Entry]:
    entries = {
        file.path: Entry(model.name, file, tag_of(model, file))
        for model in models
        for file in model.files
    }
    return dict(sorted(entries.items()))
