"""What a path of the hub's protocol asks. Pure.

    api/whoami-v2                                     who has this token
    api/models/<id>[/revision/<rev>]                  what a repository is
    api/models/<id>/refs                              its branches and tags
    api/models/<id>/tree/<rev>[/<directory>]          its files, page by page
    api/models/<id>/paths-info/<rev>                  some of them, named in the body
    api/models/<id>/auth-check                        may I read it
    <id>/resolve/<rev>/<path>                         one file

An id has one segment or two. A revision is one segment, its slashes written as %2F; so every
segment is split off first, and decoded after.
"""

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote


class Kind(StrEnum):
    """What is asked."""

    WHOAMI = "whoami-v2"
    INFO = "revision"
    REFS = "refs"
    TREE = "tree"
    PATHS = "paths-info"
    AUTH = "auth-check"
    FILE = "resolve"


DEFAULT_REVISION = "main"
_OF_REPOSITORY = (Kind.INFO, Kind.REFS, Kind.TREE, Kind.PATHS, Kind.AUTH)
_WITHOUT_REVISION = (Kind.REFS, Kind.AUTH)
_WITH_PATH = (Kind.TREE, Kind.FILE)


@dataclass(frozen=True, slots=True)
class Question:
    """One request's path, understood."""

    kind: Kind
    repository: str = ""
    revision: str = DEFAULT_REVISION
    path: str = ""  # a file, or a directory whose files are listed; "" is the top

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it is asked with."""
        return ("POST",) if self.kind is Kind.PATHS else ("GET", "HEAD")


def parse(path: str) -> Question | None:
    """Return what ``path``, undecoded and without its first slash, asks; None: nothing known."""
    segments = [unquote(segment) for segment in path.split("/")]
    match segments:
        case ["api", "whoami-v2"]:
            return Question(Kind.WHOAMI)
        case ["api", "models", *rest]:
            return _about(rest)
        case ["api", *_]:
            return None
        case _:
            return _split(segments, (Kind.FILE,))


def is_of_another_kind(path: str) -> bool:
    """Whether ``path`` asks for a dataset or a space: repositories, but never ours."""
    first = path.removeprefix("api/").partition("/")[0]
    return first in ("datasets", "spaces")


def _about(segments: list[str]) -> Question | None:
    found = _split(segments, _OF_REPOSITORY)
    if found is None and len(segments) in (1, 2) and all(segments):
        return Question(Kind.INFO, "/".join(segments))
    return found


def _split(segments: list[str], kinds: tuple[Kind, ...]) -> Question | None:
    """Return the question around a word of ``kinds``; None if there is none in its place.

    An id of two segments is looked for first, since such a word may be somebody's name as well.
    """
    for length in (2, 1):
        if len(segments) > length and segments[length] in kinds and all(segments[:length]):
            kind = Kind(segments[length])
            found = _of(kind, "/".join(segments[:length]), segments[length + 1 :])
            if found is not None:
                return found
    return None


def _of(kind: Kind, repository: str, rest: list[str]) -> Question | None:
    if kind in _WITHOUT_REVISION:
        return None if rest else Question(kind, repository)
    revision, *below = rest or [""]
    path = "/".join(below)
    if not revision or (below and kind not in _WITH_PATH) or (kind is Kind.FILE and not path):
        return None
    return Question(kind, repository, revision, path)
