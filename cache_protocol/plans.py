"""A plan: which bytes of a checkpoint one rank of an engine reads, and where it puts them.

    {"plan": 1, "key": {"checkpoint", "engine", "version", "device", "layout", "ranks", "rank",
                        "dtype", "quantisation"},
     "files": [["model-00001-of-00002.safetensors", 4976698672], …],      path, size
     "parameters": [["model.embed_tokens.weight", "BF16", [64128, 4096]], …],
     "pieces": [[file, begin, parameter, place, run, runs, pitch, stride], …],
     "kept": [[file, begin, end], …]}

It comes from a trace of the engine's own ``load_weights``. A plan is a prediction: the engine
traces again and compares before it believes one, so that a plan which is out of date, or forged,
costs time and never a wrong weight. Here everything is held against its bounds all the same: no
piece may lie outside its file or its parameter.

Parameters that the plan names are covered by its pieces, and zero where no piece is; all others
are the engine's own, and what they need of the files is ``kept``, with the files' headers.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

from cache_protocol.errors import MalformedError
from cache_protocol.json_bounds import check_marks
from cache_protocol.manifest import MAX_FILE_SIZE, MAX_FILES, Model
from cache_protocol.names import check_path, shown
from cache_protocol.safetensors_header import BITS, MAX_RANK

PLAN = 1
MAX_PLAN = 32 * 2**20  # bytes of one document; 400 000 pieces have 12 to 25 MiB
# Lists and objects of one document. The largest models have 400 000 pieces, a list each; the bytes
# of those are enough for twice as many parameters, which take three times as long to check.
MAX_LISTS = 2**19
MAX_RANKS = 1024
# What following a plan costs is bounded as well as what it may touch: a forged one of single bytes,
# or of one tensor that is read a thousand times, would take hours, and one of empty parameters all
# memory of a device.
MIN_RUN = 64  # bytes; below it a trace keeps the tensor whole
MAX_READS = 4  # times that a plan may read, or fill, as much as all its files have
MAX_REACH = 16  # times that its pieces may stretch over as much, what lies between runs included
ALIGNMENT = 512  # bytes; what torch's own allocator gives a tensor on a device
_SUFFIX = ".safetensors"
_MAX_WORD = 200  # characters of a field of the key
_WRONG_FORM = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Key:
    """What a plan holds for; with another of any of these it is another plan."""

    checkpoint: str  # ``checkpoint_digest``
    engine: str  # "vllm"
    version: str  # of the engine
    device: str  # kind of device that the parameters are on: "cpu", "cuda"
    layout: str  # how the engine shares the model out, in its own words: "tp2", "tp2 ep"
    ranks: int  # that there are
    rank: int  # that this is
    dtype: str  # that the engine computes in: "bfloat16"
    quantisation: str  # method; "" for none

    @property
    def digest(self) -> str:
        """Return 32 hex digits that stand for the key."""
        return _digest(asdict(self))


class PlannedFile(NamedTuple):
    """One file that the plan is about."""

    path: str
    size: int  # bytes


class Parameter(NamedTuple):
    """One parameter of the rank: contiguous, in row-major order."""

    name: str
    dtype: str  # a key of BITS
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return prod(self.shape) * BITS[self.dtype] // 8


class Piece(NamedTuple):
    """``runs`` runs of ``run`` bytes each, from a file into a parameter."""

    file: int  # index into the plan's files
    begin: int  # byte of the file where the first run begins
    parameter: int  # index into the plan's parameters
    place: int  # byte of the parameter where the first run goes
    run: int  # bytes
    runs: int
    pitch: int  # bytes from one run's beginning to the next one's, in the file
    stride: int  # the same, in the parameter

    @property
    def reach(self) -> int:
        """Bytes of the file from the first run's beginning to the last one's end."""
        return (self.runs - 1) * self.pitch + self.run


class Kept(NamedTuple):
    """Bytes of a file that the engine wants as they are: a header, or a tensor read whole."""

    file: int  # index into the plan's files
    begin: int
    end: int


@dataclass(frozen=True)
class Plan:
    """What one rank reads, and where it goes."""

    key: Key
    files: tuple[PlannedFile, ...]
    parameters: tuple[Parameter, ...]
    pieces: tuple[Piece, ...]  # in the order in which the engine reads them
    kept: tuple[Kept, ...]

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Where each parameter begins in the rank's memory, and where the last one ends."""
        places = [0]
        for parameter in self.parameters:
            places.append(places[-1] + -(-parameter.size // ALIGNMENT) * ALIGNMENT)
        return tuple(places)

    @property
    def size(self) -> int:
        """Bytes of the rank's memory."""
        return self.places[-1]

    @cached_property
    def fingerprint(self) -> str:
        """Return 64 hex digits that only an equal plan has."""
        return hashlib.sha256(dump_plan(self)).hexdigest()

    @property
    def read(self) -> int:
        """Bytes of the files that the rank reads, one that is read twice counted twice."""
        return sum(p.run * p.runs for p in self.pieces) + sum(k.end - k.begin for k in self.kept)


def checkpoint_digest(model: Model, generation: str) -> str:
    """Return 32 hex digits that stand for the weights of ``model``.

    Files whose sha256 nobody knows yet are named by their generation.
    """
    weights = [(f.path, f.size, f.sha256 or generation) for f in model.files if _is_weights(f.path)]
    return _digest(sorted(weights))


def dump_plan(plan: Plan) -> bytes:
    """Return ``plan`` as it travels."""
    document = {
        "plan": PLAN,
        "key": asdict(plan.key),
        "files": plan.files,
        "parameters": plan.parameters,
        "pieces": plan.pieces,
        "kept": plan.kept,
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def parse_plan(data: bytes) -> Plan:
    """Return the plan that ``data`` holds.

    Raises:
        MalformedError: not JSON of the right form, of too many values or too long, a piece lies
            outside its file or its parameter, or to follow it would cost more than any plan may.
    """
    if len(data) > MAX_PLAN:
        raise MalformedError(f"a plan of {len(data)} bytes is above {MAX_PLAN}")
    check_marks(data)
    _check_lists(data)
    try:
        document = json.loads(data.decode())
        if document["plan"] != PLAN:
            raise MalformedError(f"a plan of version {shown(repr(document['plan']))}, not {PLAN}")
        plan = Plan(
            key=parse_key(document["key"]),
            files=tuple(_file(*row) for row in document["files"]),
            parameters=tuple(_parameter(*row) for row in document["parameters"]),
            pieces=tuple(Piece(*_counts(row)) for row in document["pieces"]),
            kept=tuple(Kept(*_counts(row)) for row in document["kept"]),
        )
    except _WRONG_FORM as error:
        raise MalformedError(f"not a plan: {type(error).__name__}: {error}") from error
    _check(plan)
    return plan


def parse_key(document: Mapping[str, Any]) -> Key:
    """Return the key that ``document`` holds.

    Raises:
        MalformedError: a field is missing, is none that a key has, or has the wrong form.
    """
    try:
        key = Key(**document)
    except TypeError as error:
        raise MalformedError(f"not the key of a plan: {shown(str(error))}") from error
    for field in fields(Key):
        value, counts = getattr(key, field.name), field.name in ("ranks", "rank")
        if not (_is_count(value) if counts else _is_word(value)):
            raise MalformedError(
                f"{field.name} {shown(repr(value))} of a plan's key makes no sense"
            )
    if not key.rank < key.ranks <= MAX_RANKS:
        raise MalformedError(f"rank {key.rank} of {key.ranks} makes no sense")
    return key


def dump_key(key: Key) -> dict[str, Any]:
    """Return ``key`` as JSON values."""
    return asdict(key)


def check_files(plan: Plan, files: Iterable[tuple[str, int]]) -> None:
    """Return if ``files``, paths with sizes, has those of ``plan``.

    Raises:
        MalformedError: the plan is about another checkpoint.
    """
    there = dict(files)
    for path, size in plan.files:
        if there.get(path) != size:
            raise MalformedError(
                f"the plan is about {shown(path)} of {size} bytes, which this model has not"
            )


def _check_lists(document: bytes) -> None:
    """Raise MalformedError where ``document`` has more rows than a plan may; none is made yet."""
    lists = document.count(b"[") + document.count(b"{")
    if lists > MAX_LISTS:
        raise MalformedError(f"a plan of {lists} lists and objects is above {MAX_LISTS}")


def _check(plan: Plan) -> None:
    """Raise MalformedError unless everything lies where it can."""
    if len(plan.files) > MAX_FILES or len({f.path for f in plan.files}) != len(plan.files):
        raise MalformedError("a plan names its files once each, and not too many")
    if len({p.name for p in plan.parameters}) != len(plan.parameters):
        raise MalformedError("a plan names a parameter twice")
    sizes = [p.size for p in plan.parameters]
    for piece in plan.pieces:
        _check_piece(piece, plan, sizes)
    _check_cost(plan)
    for kept in plan.kept:
        if kept.file >= len(plan.files) or not (
            kept.begin <= kept.end <= plan.files[kept.file].size
        ):
            raise MalformedError("a plan keeps bytes that lie outside their file")


def _check_cost(plan: Plan) -> None:
    """Raise MalformedError where following ``plan`` takes more time or memory than its files."""
    there = sum(file.size for file in plan.files)
    reach = sum(piece.reach for piece in plan.pieces)
    if plan.read > MAX_READS * there:
        raise MalformedError(f"a plan reads {plan.read} bytes of files that have {there}")
    if reach > MAX_REACH * there:
        raise MalformedError(f"a plan's pieces stretch over {reach} bytes of files of {there}")
    if plan.size > MAX_READS * there + ALIGNMENT * len(plan.parameters):
        raise MalformedError(f"a plan's parameters take {plan.size} bytes, of files of {there}")


def _check_piece(piece: Piece, plan: Plan, sizes: Sequence[int]) -> None:
    """Raise MalformedError unless ``piece`` lies where it can; ``sizes`` are the parameters'."""
    if piece.file >= len(plan.files) or piece.parameter >= len(sizes):
        raise MalformedError("a piece of a plan is of a file or parameter that is not there")
    if piece.runs < 1 or min(piece.pitch, piece.stride) < piece.run:
        raise MalformedError("a piece of a plan has no runs, or runs that overlap")
    if piece.run < MIN_RUN:
        raise MalformedError(f"a piece of a plan has runs of {piece.run} bytes, not {MIN_RUN}")
    last = piece.runs - 1
    if piece.begin + piece.reach > plan.files[piece.file].size:
        raise MalformedError(f"a piece of a plan ends outside {plan.files[piece.file].path}")
    if piece.place + last * piece.stride + piece.run > sizes[piece.parameter]:
        name = plan.parameters[piece.parameter].name
        raise MalformedError(f"a piece of a plan ends outside the parameter {name}")


def _file(path: object, size: object) -> PlannedFile:
    if not isinstance(path, str) or not _is_count(size) or size > MAX_FILE_SIZE:  # type: ignore[operator]
        raise MalformedError("a file of a plan has no path, or no size")
    return PlannedFile(check_path(path), size)  # type: ignore[arg-type]


def _parameter(name: object, dtype: object, shape: Sequence[object]) -> Parameter:
    if not isinstance(name, str) or len(name) > 1024 or not name.isprintable():
        raise MalformedError("a parameter of a plan has no name")
    if dtype not in BITS or len(shape) > MAX_RANK:
        raise MalformedError(f"the parameter {name} of a plan has no type that is known")
    parameter = Parameter(name, str(dtype), _counts(shape))
    if parameter.size > MAX_FILE_SIZE:
        raise MalformedError(f"the parameter {name} of a plan has {parameter.size} bytes")
    return parameter


def _counts(row: Iterable[object]) -> tuple[int, ...]:
    counts = tuple(row)
    if not all(map(_is_count, counts)):
        raise MalformedError("a plan has a number that is no count")
    return counts  # type: ignore[return-value]


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_FILE_SIZE


def _is_word(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_WORD and value.isprintable()


def _is_weights(path: str) -> bool:
    return path.endswith(_SUFFIX)


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
