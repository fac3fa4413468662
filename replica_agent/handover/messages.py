"""What agent and engine say to each other about one model: JSON, one message per line.

    engine  {"handover": 1, "model": "llm", "rank": 0, "peers": 2, "adopts": true}
    agent   {"handover": 1, "generation": "…", "size": 1073741824, "files": 3,
             "checkpoint": "…", "shard": {"plan", "size", "device"}}   + one descriptor, or two
    agent   {"files": [["config.json", 0, 652], …]}         path, place, size; until all are named
    agent   {"arrived": [[2, 0, 33554432], …]}              file, begin, end; as chunks are checked
    agent   {}                                              I am alive
    agent   {"confirmed": true, "rewritten": false}         every file of the model; or instead
    agent   {"failed": {"code", "detail", "retry", …}}      a problem document
    engine  {"plan": {"text": "…", "last": false}}          what it reads, for the next replica
    engine  {"refused": "…"}                                the shard is not what it reads
    engine  {"done": {"outcome": "loaded", "waited": 0.2, "seconds": 1.9, "reason": null,
                      "adopted": 0, "copied": null}}

Pure: values in, bytes out, and back. Both ends belong to one user and may still be of two
versions, so that everything is checked before it is used.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from cache_protocol.errors import MalformedError
from cache_protocol.names import check_model, check_path
from cache_protocol.ranges import Span
from replica_agent.lending import ShardWords

VERSION = 1
MAX_LINE = 2**20  # bytes of one message, its end included
# Rows of a message: a path has at most 1024 bytes, of which JSON makes at most six times as many.
MAX_ROWS = 128
PLAN_PART = 500_000  # characters of a plan in one message: each may become two in JSON
_PLAN = re.compile(r"[0-9a-f]{64}")  # a plan's fingerprint
_CHECKPOINT = re.compile(r"[0-9a-f]{32}")
_MAX_WORDS = 1000  # characters that are kept of what an engine says for people
_MAX_COUNT = 2**53  # what a number of JSON carries. Source: RFC 8259, section 6
_MAX_SECONDS = 1e9  # what a report may have
_Row = TypeVar("_Row")
_WRONG_FORM = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class Outcome(StrEnum):
    """How a consumer's load ended."""

    LOADED = "loaded"  # from the agent's memory, confirmed
    ORIGIN = "origin"  # the engine loaded from the origin instead
    FAILED = "failed"
    GONE = "gone"  # the process went without a word; never sent


class Hello(NamedTuple):
    """Who asks for a model."""

    model: str
    rank: int = 0  # of this process among all that make up the engine
    peers: int = 1  # processes of this host that will ask for the model, this one included
    adopts: bool = False  # whether it can take a shard


class Layout(NamedTuple):
    """What the memory that comes with it holds."""

    generation: str
    size: int  # bytes of the memory
    files: int  # how many
    checkpoint: str = ""  # digest, as a plan's key has it; "" from an older agent
    shard: ShardWords | None = None  # where there is one, its descriptor comes second


class Placed(NamedTuple):
    """One file in the memory."""

    path: str
    place: int  # bytes from the start of the memory
    size: int  # bytes


class Arrived(NamedTuple):
    """Checked bytes of one file."""

    file: int  # index into the files
    span: Span


class Done(NamedTuple):
    """What a consumer says last."""

    outcome: Outcome
    waited: float  # seconds in which it stood and waited for bytes
    seconds: float  # of the whole load
    reason: str | None = None  # why it was not loaded from here
    adopted: int = 0  # bytes of parameters that are the shard's own memory
    copied: str | None = None  # in words, where a GPU copied: out of which memory


class PlanPart(NamedTuple):
    """A part of a plan's document, in the order of its bytes."""

    text: str
    last: bool


def encode(message: dict[str, Any]) -> bytes:
    """Return ``message`` as it travels."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Return the message that ``line`` is; MalformedError when it is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MalformedError("the other side of the hand-over does not speak JSON") from error
    if not isinstance(message, dict):
        raise MalformedError("a message of the hand-over is not an object")
    return message


def hello(words: Hello) -> dict[str, Any]:
    """Return the first message of a consumer."""
    return {"handover": VERSION, **words._asdict()}


def parse_hello(message: dict[str, Any]) -> Hello:
    """Return who asks; MalformedError for another version or a wrong form."""
    _check_version(message)
    rank, peers = _count(message.get("rank")), _count(message.get("peers"))
    if not 0 <= rank < 2**20 or not 1 <= peers <= 2**20:
        raise MalformedError(f"rank {rank} of {peers} peers makes no sense")
    model = message.get("model")
    if not isinstance(model, str):
        raise MalformedError("the hand-over was not asked for any model")
    return Hello(check_model(model), rank, peers, message.get("adopts") is True)


def layout(words: Layout) -> dict[str, Any]:
    """Return the first message of an agent that has the model."""
    message = {"handover": VERSION, **words._asdict()}
    message["shard"] = words.shard._asdict() if words.shard else None
    return message


def parse_layout(message: dict[str, Any]) -> Layout:
    """Return what the memory holds; MalformedError for another version or a wrong form."""
    _check_version(message)
    size, files = _count(message.get("size")), _count(message.get("files"))
    if size < 1:
        raise MalformedError("the memory that is handed over has no size")
    checkpoint = message.get("checkpoint", "")
    if not isinstance(checkpoint, str) or not (not checkpoint or _CHECKPOINT.fullmatch(checkpoint)):
        raise MalformedError("the digest of the checkpoint is not 32 hexadecimal digits")
    shard = _shard(message.get("shard"))
    return Layout(str(message.get("generation")), size, files, checkpoint, shard)


def files(placed: Sequence[Placed]) -> Iterator[dict[str, Any]]:
    """Yield the messages that name ``placed``."""
    for rows in _batches(placed):
        yield {"files": [list(row) for row in rows]}


def parse_files(message: dict[str, Any], within: int) -> list[Placed]:
    """Return the files that ``message`` names, all inside memory of ``within`` bytes."""
    try:
        named = [
            Placed(check_path(path), _count(place), _count(size))
            for path, place, size in message["files"]
        ]
    except _WRONG_FORM as error:
        raise MalformedError("a list of files has the wrong form") from error
    if any(file.place + file.size > within for file in named):
        raise MalformedError("a file lies outside the memory that was handed over")
    return named


def arrived(parts: Iterable[Arrived]) -> Iterator[dict[str, Any]]:
    """Yield the messages that tell of ``parts``; neighbours become one."""
    for rows in _batches(_joined(parts)):
        yield {"arrived": [[part.file, *part.span] for part in rows]}


def parse_arrived(message: dict[str, Any], sizes: Sequence[int]) -> list[Arrived]:
    """Return the parts that ``message`` tells of, each inside its file of ``sizes``."""
    try:
        parts = [
            Arrived(_count(file), Span(_count(begin), _count(end)))
            for file, begin, end in message["arrived"]
        ]
        sound = all(p.span.begin <= p.span.end <= sizes[p.file] for p in parts)
    except _WRONG_FORM as error:
        raise MalformedError("news of what has arrived has the wrong form") from error
    if not sound:
        raise MalformedError("bytes are said to have arrived outside their file")
    return parts


def done(words: Done) -> dict[str, Any]:
    """Return the last message of a consumer."""
    return {"done": words._asdict()}


def parse_done(message: dict[str, Any]) -> Done:
    """Return how a consumer fared; MalformedError when that is not what it says."""
    try:
        words = message["done"]
        reason, copied = words.get("reason"), words.get("copied")
        return Done(
            Outcome(words["outcome"]),
            _seconds(words["waited"]),
            _seconds(words["seconds"]),
            None if reason is None else _fit(reason),
            _count(words.get("adopted", 0)),
            None if copied is None else _fit(copied),
        )
    except _WRONG_FORM as error:
        raise MalformedError("a consumer's last words have the wrong form") from error


def plan_parts(document: bytes) -> Iterator[dict[str, Any]]:
    """Yield the messages that bring ``document``, a plan as ``dump_plan`` makes it."""
    text = document.decode("ascii")
    for begin in range(0, max(len(text), 1), PLAN_PART):
        end = begin + PLAN_PART
        yield {"plan": {"text": text[begin:end], "last": end >= len(text)}}


def parse_plan_part(message: dict[str, Any]) -> PlanPart:
    """Return the part of a plan that ``message`` brings; MalformedError when it is none."""
    try:
        text, last = message["plan"]["text"], message["plan"]["last"]
    except _WRONG_FORM as error:
        raise MalformedError("a part of a plan has the wrong form") from error
    if not isinstance(text, str) or not text.isascii() or type(last) is not bool:
        raise MalformedError("a part of a plan has the wrong form")
    return PlanPart(text, last)


def refused(reason: str) -> dict[str, Any]:
    """Return the message of a consumer that does not take its shard."""
    return {"refused": reason}


def parse_refused(message: dict[str, Any]) -> str:
    """Return why a consumer does not take its shard, fit to be shown."""
    return _fit(message.get("refused"))


def _check_version(message: dict[str, Any]) -> None:
    version = message.get("handover")
    if type(version) is not int or version != VERSION:
        raise MalformedError(
            f"the other side speaks version {version!r:.40} of the hand-over, this one {VERSION}"
        )


def _shard(words: object) -> ShardWords | None:
    if words is None:
        return None
    try:
        plan, size, device = words["plan"], _count(words["size"]), words["device"]  # type: ignore[index]
    except _WRONG_FORM as error:
        raise MalformedError("a shard of the hand-over has the wrong form") from error
    if not isinstance(plan, str) or not _PLAN.fullmatch(plan) or size < 1:
        raise MalformedError("a shard of the hand-over has no plan, or no size")
    if not isinstance(device, str):
        raise MalformedError("a shard of the hand-over does not say where it is")
    return ShardWords(plan, size, device)


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < _MAX_COUNT:
        raise MalformedError("a field of the hand-over that must be a count is not")
    return value


def _seconds(value: object) -> float:
    number = None if isinstance(value, bool) else value
    if isinstance(number, int | float) and 0 <= number < _MAX_SECONDS:
        return float(number)
    raise MalformedError("a field of the hand-over that must be seconds is not")


def _fit(words: object) -> str:
    """Return ``words`` fit to be shown: they go to terminals, logs and reports."""
    return "".join(c if c.isprintable() else " " for c in str(words)[:_MAX_WORDS])


def _joined(parts: Iterable[Arrived]) -> list[Arrived]:
    joined: list[Arrived] = []
    for part in parts:
        last = joined[-1] if joined else None
        if last and last.file == part.file and last.span.end == part.span.begin:
            joined[-1] = Arrived(part.file, Span(last.span.begin, part.span.end))
        else:
            joined.append(part)
    return joined


def _batches(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    for first in range(0, len(rows), MAX_ROWS):
        yield rows[first : first + MAX_ROWS]
