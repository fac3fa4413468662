"""Every failure in the hub's own words: a status, ``X-Error-Code`` and ``X-Error-Message``.

Clients act on the code alone: RepoNotFound, RevisionNotFound and EntryNotFound are final, and are
never said of something that may come yet. 429 is waited for everywhere, 503 where a client only
asks for metadata.
"""

from collections.abc import Sequence
from typing import ClassVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from cache_protocol import errors
from cache_protocol.errors import CacheError, Retry
from cache_server.core.coming_back import wish_of
from cache_server.http.problems import RETRY_AFTER

COMMIT = "X-Repo-Commit"
MAX_MESSAGE = 2000  # characters of a header; clients and proxies take 8 KiB for all of them


class NotThereError(CacheError):
    """The hub has a word of its own for what is missing."""

    code = "not-found"
    retry = Retry.NEVER
    title = "There is nothing of this name"
    hub_code: ClassVar[str]

    def __init__(self, detail: str, *, commit: str | None = None) -> None:
        super().__init__(detail)
        self.commit = commit  # where it was looked for


class RepositoryNotFoundError(NotThereError):
    """The pipeline has no such repository."""

    hub_code = "RepoNotFound"


class RevisionNotFoundError(NotThereError):
    """The slot's generation does not answer to this revision."""

    hub_code = "RevisionNotFound"


class EntryNotFoundError(NotThereError):
    """The repository has no such file or directory; clients remember it for the commit."""

    hub_code = "EntryNotFound"


# Status and, where clients know one, the code. What is not here may come yet: 503.
_SAID: dict[type[CacheError], tuple[int, str | None]] = {
    NotThereError: (404, None),  # its own
    errors.MalformedError: (400, None),
    errors.UnauthorizedError: (401, None),
    errors.ForbiddenError: (403, None),
    errors.UnknownPipelineError: (404, "RepoNotFound"),
    errors.OriginNotFoundError: (404, "RepoNotFound"),
    errors.OriginDeniedError: (403, "GatedRepo"),
    errors.UnsafeContentError: (403, None),
    errors.BusyError: (429, None),
    errors.QuotaError: (429, None),
    CacheError: (503, None),
}


def refuse(
    request: Request,  # noqa: ARG001 - part of ``http.annex.Refuse``
    error: CacheError,
    status: int | None = None,
) -> Response:
    """Return ``error`` as the hub would say it."""
    own_status, code = next(_SAID[kind] for kind in type(error).__mro__ if kind in _SAID)
    status = own_status if status is None else status
    headers = {"X-Error-Message": _one_line(str(error)), "Cache-Control": "no-store"}
    if isinstance(error, NotThereError):
        code = error.hub_code
        headers |= {} if error.commit is None else {COMMIT: error.commit}
    if code is not None:
        headers["X-Error-Code"] = code
    if status in (429, 503):
        headers["Retry-After"] = str(wish_of(error) or RETRY_AFTER)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
        # These very words keep clients from taking it for a repository that is not there.
        headers["X-Error-Message"] = "Invalid credentials in Authorization header"
    return JSONResponse({"error": str(error)}, status, headers)


def unknown() -> Response:
    """Return the answer where the hub has something that this door has not, or nothing either."""
    said = "this endpoint has no such path: it serves the files of one pipeline's models"
    return JSONResponse({"error": said}, 404, {"X-Error-Message": said})


def not_allowed(method: str, allowed: Sequence[str]) -> Response:
    """Return the refusal of a method; this door only reads."""
    said = f"{method[:16]} is not allowed here: this endpoint only reads"
    headers = {"Allow": ", ".join(allowed), "X-Error-Message": _one_line(said)}
    return JSONResponse({"error": said}, 405, headers)


def _one_line(text: str) -> str:
    """Return ``text`` as a header may carry it."""
    line = "".join(c if c.isprintable() else " " for c in text)[:MAX_MESSAGE]
    return line.encode("ascii", "replace").decode()
