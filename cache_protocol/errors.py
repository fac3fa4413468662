"""Failures that either side of the wire can name.

CacheError
├── MalformedError            bytes or words that claim a form do not follow it
├── UnknownPipelineError      nobody registered a pipeline of this id
├── UnauthorizedError         no token, or one that this node does not know
├── ForbiddenError            the token is known, and may not do this
├── UnknownTokenError         there is no token of this id
├── UnknownPlanError         nobody has left a plan of this key
├── PlanRefusedError         the plan is of no weights that are kept here
├── TicketError               a URL's right to read is missing, forged or has run out
├── GenerationGoneError       the content behind this URL has been given up
├── SlotInUseError            a replica reads the slot now
├── CapacityError             there is no room for this fill now
├── QuotaError                a limit of the tenant's own is reached
├── BusyError                 a bound of the node is reached
├── DrainingError             the node is about to stop and takes no new reader
├── DiskError                 the node's own disk refused a read or a write
├── IntegrityError            the bytes are whole but are not the promised bytes
├── OriginError               the origin, not this node, is why it did not work
│   ├── OriginNotFoundError       it has no such repository, revision, bucket or file
│   ├── OriginDeniedError         it knows us, or does not, and says no
│   ├── OriginChangedError        the content moved while it was being pulled
│   ├── UnsafeContentError        all it has would run code when it is opened
│   └── OriginUnavailableError    it did not answer, or stopped half way
└── ServerUnreachableError    the cache server did not answer (said by the agent alone)

An error says what happened, with its numbers, and whether trying again can help. It does not
know HTTP: ``cache_server.http.problems`` holds the one table from error to status code. On the
wire it is a problem document (RFC 9457); ``to_problem`` and ``from_problem`` are the two ends.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, ClassVar


class Retry(StrEnum):
    """Whether the same request can succeed later, without a change by its sender."""

    NEVER = "never"
    LATER = "later"
    NOW = "now"


class CacheError(Exception):
    """Base of every failure this project raises on purpose; ``str`` of it is the detail."""

    code: ClassVar[str] = "internal"  # stable name on the wire and in metrics
    retry: Retry = Retry.LATER  # of the class, unless a problem document said otherwise
    title: ClassVar[str] = "The node met a condition it does not understand"


class MalformedError(CacheError):
    """Bytes or words that claim a form do not follow it."""

    code = "malformed"
    retry = Retry.NEVER
    title = "The input does not have the form it must have"


class UnknownPipelineError(CacheError):
    """Nobody registered a pipeline of this id."""

    code = "unknown-pipeline"
    retry = Retry.NEVER
    title = "There is no such pipeline"


class UnauthorizedError(CacheError):
    """No token was sent, or one that this node does not know."""

    code = "unauthorized"
    retry = Retry.NEVER
    title = "A valid token is needed"


class ForbiddenError(CacheError):
    """The token is known, and may not do this."""

    code = "forbidden"
    retry = Retry.NEVER
    title = "This token may not do this"


class UnknownTokenError(CacheError):
    """There is no token of this id."""

    code = "unknown-token"
    retry = Retry.NEVER
    title = "There is no such token"


class UnknownPlanError(CacheError):
    """Nobody has left a plan of this key, or it was given up: it is traced anew."""

    code = "unknown-plan"
    retry = Retry.NEVER
    title = "There is no such plan"


class PlanRefusedError(CacheError):
    """The plan is of no weights that are kept here, or takes more room than plans have."""

    code = "plan-refused"
    retry = Retry.NEVER
    title = "This plan is not kept"


class TicketError(CacheError):
    """A URL's right to read is missing, forged or has run out; ask for the manifest again."""

    code = "ticket"
    retry = Retry.NOW
    title = "The URL carries no valid right to read"


class GenerationGoneError(CacheError):
    """The content behind this URL has been given up; ask for the manifest again."""

    code = "generation-gone"
    retry = Retry.NOW
    title = "The content behind this URL is gone"


class SlotInUseError(CacheError):
    """A replica reads the slot now."""

    code = "slot-in-use"
    retry = Retry.LATER
    title = "A replica is reading this slot"


class CapacityError(CacheError):
    """There is no room for this fill now."""

    code = "capacity"
    retry = Retry.LATER
    title = "There is no room for this pipeline"

    def __init__(self, detail: str, **numbers: int) -> None:
        super().__init__(detail)
        self.numbers = numbers  # bytes: needed, free, and what is held for which reason


class QuotaError(CacheError):
    """A limit of the tenant's own is reached; other tenants go on."""

    code = "quota"
    retry = Retry.LATER
    title = "The tenant has reached a limit of its own"

    def __init__(self, detail: str, **numbers: int) -> None:
        super().__init__(detail)
        self.numbers = numbers  # limit, used, and what else says why


class BusyError(CacheError):
    """A bound of the node is reached."""

    code = "busy"
    retry = Retry.LATER
    title = "The node has reached a limit"


class DrainingError(CacheError):
    """The node is about to stop: whoever reads may finish, nobody new begins."""

    code = "draining"
    retry = Retry.LATER
    title = "The node is being stopped"


class DiskError(CacheError):
    """The node's own disk refused a read or a write."""

    code = "disk"
    retry = Retry.LATER
    title = "The node's disk failed"


class IntegrityError(CacheError):
    """The bytes are whole but are not the promised bytes."""

    code = "integrity"
    retry = Retry.LATER
    title = "The bytes are not the promised bytes"


class OriginError(CacheError):
    """The origin, not this node, is why it did not work."""

    code = "origin"
    retry = Retry.LATER
    title = "The origin failed"


class OriginNotFoundError(OriginError):
    """The origin has no such repository, revision, bucket or file."""

    code = "origin-not-found"
    retry = Retry.NEVER
    title = "The origin has nothing of this name"


class OriginDeniedError(OriginError):
    """The origin says no: gated, private, or the credentials do not reach that far."""

    code = "origin-denied"
    retry = Retry.NEVER
    title = "The origin refuses access"


class OriginChangedError(OriginError):
    """The content moved while it was being pulled; a new warm resolves it afresh."""

    code = "origin-changed"
    retry = Retry.NOW
    title = "The origin's content changed during the pull"


class UnsafeContentError(OriginError):
    """All that the origin has for a model would run code when it is opened."""

    code = "unsafe-content"
    retry = Retry.NEVER
    title = "The origin has nothing that is safe to open"


class OriginUnavailableError(OriginError):
    """The origin did not answer, or stopped half way."""

    code = "origin-unavailable"
    retry = Retry.LATER
    title = "The origin does not answer"

    def __init__(self, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after  # seconds that the origin itself asked for


class ServerUnreachableError(CacheError):
    """The cache server did not answer; said by the agent alone."""

    code = "server-unreachable"
    retry = Retry.LATER
    title = "The cache server does not answer"


def to_problem(error: CacheError, status: int) -> dict[str, Any]:
    """Return the problem document of ``error`` (RFC 9457, with ``code`` and ``retry``)."""
    numbers = error.numbers if isinstance(error, (CapacityError, QuotaError)) else {}
    return {
        **({"numbers": dict(numbers)} if numbers else {}),
        "type": f"urn:warmline:{error.code}",
        "title": error.title,
        "status": status,
        "detail": str(error),
        "code": error.code,
        "retry": error.retry.value,
    }


def from_problem(problem: Mapping[str, Any]) -> CacheError:
    """Return the error that a problem document speaks of; unknown codes become CacheError."""
    kind = _BY_CODE.get(str(problem.get("code")), CacheError)
    error = kind(str(problem.get("detail") or problem.get("title") or "no detail was given"))
    if problem.get("retry") in tuple(Retry):  # also of a code that only the sender knows
        error.retry = Retry(problem["retry"])
    return error


def _tree(root: type[CacheError]) -> Iterator[type[CacheError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


_BY_CODE: dict[str, type[CacheError]] = {kind.code: kind for kind in _tree(CacheError)}
