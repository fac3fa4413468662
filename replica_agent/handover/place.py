"""How an engine finds its agent: a small file beside the model's small files.

    <base>/<pipeline>/<model>/.warmline.json      0600, in a directory of 0700
    {"socket": "…", "pipeline": "voice", "model": "llm", "generation": "…",
     "fallback": "origin" | "fail",
     "origin": {"source": "hf://org/name", "revision": "…", "files": ["…"], "allow": ["pickle"]}}

The model's path is the one thing that every engine is given anyway, so that no variable of the
environment is needed and several engines run side by side. There is no secret in it.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from cache_protocol.errors import MalformedError
from cache_protocol.formats import Hazard
from cache_protocol.names import PLACE, check_path

NAME = PLACE
Fallback = Literal["origin", "fail"]
_WRONG_FORM = (MalformedError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the model lives when there is no cache."""

    source: str  # hf://org/name, s3://bucket/prefix, file:///directory
    revision: str | None = None  # the commit, for hf
    files: tuple[str, ...] | None = None  # of that revision; None: all that are safe, and
    allow: tuple[Hazard, ...] = ()  # of what can run code, what belongs to the model


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model is handed over, and what to do when it is not."""

    socket: Path
    model: str
    pipeline: str = ""
    generation: str = ""
    fallback: Fallback = "fail"
    origin: Origin | None = None


def write_place(directory: Path, place: Place) -> None:
    """Put ``place`` into a model's ``directory``, in one step."""
    fields = {**asdict(place), "socket": str(place.socket)}
    hidden = directory / f"{NAME}.new"
    fd = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "w") as file:
        json.dump(fields, file, indent=2)
    hidden.replace(directory / NAME)


def read_place(directory: Path) -> Place | None:
    """Return the place that a model's ``directory`` names; None when it names none.

    Raises:
        MalformedError: there is something of that name, and it is not ours.
        OSError: it cannot be read.
    """
    try:
        text = (directory / NAME).read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return _parse(json.loads(text))
    except _WRONG_FORM as error:
        raise MalformedError(
            f"{directory / NAME} has not the form that the agent gives it"
        ) from error


def _parse(fields: dict[str, object]) -> Place:
    origin = fields.get("origin")
    return Place(
        socket=Path(_text(fields["socket"])),
        model=_text(fields["model"]),
        pipeline=_text(fields.get("pipeline", "")),
        generation=_text(fields.get("generation", "")),
        fallback="origin" if fields.get("fallback") == "origin" else "fail",
        origin=_origin(origin) if isinstance(origin, dict) else None,
    )


def _origin(fields: dict[str, object]) -> Origin:
    revision = fields.get("revision")
    files = fields.get("files")
    return Origin(
        source=_text(fields["source"]),
        revision=None if revision is None else _text(revision),
        files=None if files is None else tuple(check_path(_text(f)) for f in _list(files)),
        allow=tuple(Hazard(_text(a)) for a in _list(fields.get("allow", []))),
    )


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("a field that must be a list is not")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a field that must be a text is not")
    return value
