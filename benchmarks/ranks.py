"""Plans of ranks that share a checkpoint of ``checkpoints`` as vLLM's Llama does. Pure.

q, k, v, gate, up    by rows, q, k and v in one parameter, gate and up in another
o, down              by columns: a run out of every row
norms                every rank reads all of it
"""

from collections.abc import Mapping, Sequence
from itertools import groupby

from cache_protocol.plans import Kept, Key, Parameter, Piece, Plan, PlannedFile
from cache_protocol.safetensors_header import TensorEntry

_FUSED = {
    "q_proj": "qkv_proj",
    "k_proj": "qkv_proj",
    "v_proj": "qkv_proj",
    "gate_proj": "gate_up_proj",
    "up_proj": "gate_up_proj",
}
_BY_COLUMNS = ("o_proj", "down_proj")
Header = tuple[int, int, Sequence[TensorEntry]]  # size of the file, of its header, its tensors


def plans(checkpoint: str, headers: Mapping[str, Header], ranks: int) -> list[Plan]:
    """Return the plan of each of ``ranks`` that divide every dimension; by path ``headers``."""
    return [_plan(_key(checkpoint, ranks, rank), headers) for rank in range(ranks)]


def _key(checkpoint: str, ranks: int, rank: int) -> Key:
    return Key(checkpoint, "bench", "1", "cpu", f"tp{ranks}", ranks, rank, "bfloat16", "")


def _plan(key: Key, headers: Mapping[str, Header]) -> Plan:
    tensors = [
        (n, entry) for n, (_, _, entries) in enumerate(headers.values()) for entry in entries
    ]
    tensors.sort(key=lambda each: _parameter(each[1]))
    parameters: list[Parameter] = []
    pieces: list[Piece] = []
    for name, parts in groupby(tensors, key=lambda each: _parameter(each[1])):
        at, shape = 0, (0, 0)
        for file, entry in parts:
            piece, (rows, columns) = _share(key, file, entry)
            pieces.append(piece._replace(parameter=len(parameters), place=at))
            at += piece.run * piece.runs
            shape = (shape[0] + rows, columns)
        parameters.append(Parameter(name, "BF16", shape))
    kept = tuple(Kept(file, 0, header) for file, (_, header, _) in enumerate(headers.values()))
    files = tuple(PlannedFile(path, size) for path, (size, _, _) in headers.items())
    return Plan(key, files, tuple(parameters), tuple(pieces), kept)


def _parameter(entry: TensorEntry) -> str:
    layer, _, last = entry.name.removesuffix(".weight").rpartition(".")
    return f"{layer}.{_FUSED.get(last, last)}.weight"


def _share(key: Key, file: int, entry: TensorEntry) -> tuple[Piece, tuple[int, int]]:
    """Return what a rank reads of a tensor, and the rows and columns that it is there."""
    begin, size = entry.span.begin, entry.span.size
    if len(entry.shape) == 1:
        return Piece(file, begin, 0, 0, size, 1, size, size), (1, entry.shape[0])
    rows, columns = entry.shape
    if entry.name.removesuffix(".weight").endswith(_BY_COLUMNS):
        pitch = size // rows
        run = pitch // key.ranks
        return Piece(file, begin + key.rank * run, 0, 0, run, rows, pitch, run), (
            rows,
            columns // key.ranks,
        )
    run = size // key.ranks
    return Piece(file, begin + key.rank * run, 0, 0, run, 1, run, run), (rows // key.ranks, columns)
