"""How a command ends when it cannot do what was asked: one table of codes, one of next steps.

The codes are part of the contract: scripts branch on them. The help of every command is made
from the same table.
"""

from dataclasses import dataclass

from cache_protocol import errors
from cache_protocol.errors import CacheError
from cache_server.cli.foreign import visible


@dataclass(frozen=True, slots=True)
class Exit:
    """One exit code."""

    code: int
    meaning: str
    kinds: tuple[type[CacheError], ...] = ()  # of errors that end so; the nearest class counts


EXITS = (
    Exit(0, "done"),
    Exit(1, "anything else; the message says what", (CacheError,)),
    Exit(2, "wrong usage or settings", (errors.MalformedError,)),
    Exit(3, "no node answers", (errors.ServerUnreachableError,)),
    Exit(
        4,
        "no such pipeline or token, or no right to it",
        (
            errors.UnknownPipelineError,
            errors.UnknownTokenError,
            errors.UnauthorizedError,
            errors.ForbiddenError,
        ),
    ),
    Exit(5, "the origin refuses, or has nothing of this name", (errors.OriginError,)),
    Exit(6, "the bytes are not the promised bytes", (errors.IntegrityError,)),
    Exit(7, "no room, or a quota of the tenant is met", (errors.CapacityError, errors.QuotaError)),
    Exit(
        8,
        "not now: the node is busy, is being stopped, or its disk is sick",
        (errors.BusyError, errors.DrainingError, errors.DiskError),
    ),
    Exit(130, "interrupted"),
)
_CODES = {kind: each.code for each in EXITS for kind in each.kinds}
EXIT_CODES = "exit codes:\n" + "".join(f"  {e.code:<4} {e.meaning}\n" for e in EXITS)

# What to do next; of the nearest class. The message itself says what happened.
NEXT: dict[type[CacheError], str] = {
    errors.ServerUnreachableError: "is the node running? Name it with --server URL, or with "
    "--root DIR on its own machine",
    errors.UnauthorizedError: "set CACHE_SERVER_ADMIN_TOKEN to a valid token, or give --root DIR "
    "on the node's own machine",
    errors.UnknownPipelineError: "'cache-server pipelines ls' shows those that there are",
    errors.UnknownTokenError: "'cache-server tokens ls' shows those that there are",
    errors.SlotInUseError: "wait until its replicas are done, or take it from them with --force",
    errors.CapacityError: "'cache-server plan-eviction --need SIZE' shows who could go; unpin or "
    "evict a pipeline, or give the node more capacity",
    errors.QuotaError: "evict or remove a pipeline of this tenant, wait until what runs is over, "
    "or ask the operator for a larger quota",
    errors.BusyError: "try again in a moment",
    errors.DrainingError: "ask another node with --server URL, or this one when it is back",
    errors.DiskError: "look at the node's log and its disk; it goes on by itself once that is well",
    errors.IntegrityError: "'cache-server scrub ID --wait' checks what is kept; the node's log "
    "names the file",
    errors.OriginNotFoundError: "check the source: 'cache-server pipelines show ID'",
    errors.OriginDeniedError: "give the node credentials that reach so far: HF_TOKEN, AWS_*, or a "
    "secret that --credentials names",
    errors.OriginChangedError: "'cache-server warm ID' resolves it afresh",
    errors.OriginUnavailableError: "try again: what has been pulled is kept",
}


def exit_code(error: CacheError) -> int:
    """Return the code of ``error``: that of its nearest class in the table."""
    return next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)


def next_step(error: CacheError) -> str | None:
    """Return what to do about ``error``, where the message does not say it already."""
    return next((NEXT[kind] for kind in type(error).__mro__ if kind in NEXT), None)


def complaint(error: CacheError) -> str:
    """Return ``error`` and what to do about it, for people."""
    step = next_step(error)
    return f"cache-server: {visible(str(error))}" + (f"\n  next: {step}" if step else "")


def document(error: CacheError) -> dict[str, str]:
    """Return the same for programs."""
    step = next_step(error)
    said = {"code": error.code, "detail": str(error), "retry": error.retry.value}
    return said | ({"next": step} if step else {})
