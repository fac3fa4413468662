"""Bring a model from where it lives first, with the replica's own credentials: the way around us.

The libraries that know an origin live in a child process that ends with its work: the agent, and
an engine that comes here, stay as they were. No digest of ours is compared on this way: it is as
good as the engine's own download, and not better.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cache_protocol.errors import OriginNotFoundError, OriginUnavailableError, from_problem
from cache_protocol.formats import Hazard, sift
from cache_protocol.names import PLACE
from replica_agent.children import environment

SWITCH = "--allow-{}"  # of ``boot``, for an origin that its command line names


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model at its origin."""

    source: str  # hf://org/name[@revision], s3://bucket/prefix, file:///directory
    revision: str | None = None  # a commit, which only hf:// has
    files: tuple[str, ...] | None = None  # paths that belong to the model; None: all that are safe
    allow: tuple[Hazard, ...] = ()  # of what can run code, what belongs to the model all the same


def bring(wanted: Wanted, to: Path, room: Path) -> None:
    """Make every file of ``wanted`` appear below ``to``, which exists; returns when all are there.

    Args:
        wanted: what to bring.
        to: a directory that gets links, or files.
        room: a directory on a disk with room, for what no cache of the library's own keeps.

    Raises:
        CacheError: the origin refuses, has no such thing, does not answer, or has no weights but
            what can run code.
    """
    directory = _fetch(wanted, room)
    names = wanted.files
    if names is None:
        names = tuple(sift(wanted.source, dict(_sizes(directory)), wanted.allow, SWITCH))
    for name in names:
        if not (directory / name).is_file():
            raise OriginNotFoundError(f"{wanted.source} has no file {name!r} any more")
        _link(to / name, directory / name)
    if not names:
        raise OriginNotFoundError(f"{wanted.source} has no files")


def _link(name: Path, to: Path) -> None:
    """Have ``name`` lead to the file ``to``, in one step: an engine may be reading it."""
    name.parent.mkdir(parents=True, exist_ok=True)
    fresh = name.with_name(f"{name.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(to)
    fresh.replace(name)


def _fetch(wanted: Wanted, room: Path) -> Path:
    """Run the child; return the directory that holds the files."""
    words = json.dumps({**asdict(wanted), "room": str(room)})
    child = subprocess.Popen(
        [sys.executable, "-m", "replica_agent.fetch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    with child:
        try:
            said, _ = child.communicate(words)
        except BaseException:  # we are told to stop: so is the child
            child.kill()
            raise
    try:
        answer = json.loads(said)
    except ValueError as error:
        raise OriginUnavailableError(
            f"the download of {wanted.source} ended with {child.returncode} and without a word"
        ) from error
    if "code" in answer:
        raise from_problem(answer)
    return Path(answer["directory"])


def _sizes(directory: Path) -> Iterator[tuple[str, int]]:
    """Yield the files that there are, but for one that would pass for the agent's own."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.name != PLACE:
            yield str(path.relative_to(directory)), path.stat().st_size
