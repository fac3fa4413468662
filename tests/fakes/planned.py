"""A checkpoint in which ranks share every weight, and the plans of an engine that reads it so.

embedding, norm     every rank reads all of it; the norm is kept whole
columns.N           a rank reads its rows: one run
rows.N              a rank reads its part of every row: a run a row, side by side at the rank
"""

import hashlib
import os

import numpy as np
import safetensors.numpy

from cache_protocol.manifest import File, Model
from cache_protocol.plans import Kept, Key, Parameter, Piece, Plan, PlannedFile, checkpoint_digest
from cache_protocol.safetensors_header import PREFIX, header_size, parse_header
from replica_agent.arenas.cuda.shared import AdoptedMemory
from replica_agent.lending import LaidOut

PATH = "model.safetensors"


def checkpoint(layers=2, size=256, seed=0):
    """Return the bytes of one; every weight has ``size`` rows of as many U16."""
    random = np.random.default_rng(seed)

    def weight(*shape):
        return random.integers(1, 2**16, shape, dtype=np.uint16)

    tensors = {"embedding": weight(size, size), "norm": weight(size)}
    for layer in range(layers):
        tensors |= {f"columns.{layer}": weight(size, size), f"rows.{layer}": weight(size, size)}
    return safetensors.numpy.save(tensors)


def key(content, rank, ranks, **other):
    facts = {"engine": "vllm", "version": "0.32.0", "device": "cpu", "layout": f"tp{ranks}"}
    facts |= {"dtype": "bfloat16", "quantisation": "", "checkpoint": digest(content)} | other
    return Key(rank=rank, ranks=ranks, **facts)


def digest(content):
    """Return the checkpoint's digest where its sha256 is known."""
    known = hashlib.sha256(content).hexdigest()
    file = File(PATH, len(content), known, (), "", "")
    return checkpoint_digest(Model("file:///llm", "1", (file,)), "")


def plans(content, ranks=2, **other):
    """Return what each of ``ranks`` reads of ``content``, a ``checkpoint``."""
    return [_plan(content, rank, ranks, other) for rank in range(ranks)]


def _plan(content, rank, ranks, other):
    begin = PREFIX + header_size(content[:PREFIX], file_size=len(content))
    kept, parameters, pieces = [Kept(0, 0, begin)], [], []
    for entry in parse_header(content[PREFIX:begin], file_size=len(content)):
        if entry.name == "norm":
            kept.append(Kept(0, *entry.span))
            continue
        shape, piece = _share(entry, rank, ranks, len(parameters))
        parameters.append(Parameter(entry.name, entry.dtype, shape))
        pieces.append(piece)
    files = (PlannedFile(PATH, len(content)),)
    return Plan(
        key(content, rank, ranks, **other), files, tuple(parameters), tuple(pieces), tuple(kept)
    )


def _share(entry, rank, ranks, number):
    (rows, columns), (begin, end) = entry.shape, entry.span
    if entry.name == "embedding":
        return entry.shape, Piece(0, begin, number, 0, end - begin, 1, end - begin, end - begin)
    if entry.name.startswith("columns"):
        run = (end - begin) // ranks
        shape = (rows // ranks, columns)
        return shape, Piece(0, begin + rank * run, number, 0, run, 1, run, run)
    pitch = 2 * columns
    run = pitch // ranks
    shape = (rows, columns // ranks)
    return shape, Piece(0, begin + rank * run, number, 0, run, rows, pitch, run)


def laid_out(content, plan):
    """Return what the rank's memory must hold: copied byte by byte, the slow and plain way."""
    memory = bytearray(plan.size)
    for piece in plan.pieces:
        for run in range(piece.runs):
            begin = piece.begin + run * piece.pitch
            place = plan.places[piece.parameter] + piece.place + run * piece.stride
            memory[place : place + piece.run] = content[begin : begin + piece.run]
    return bytes(memory)


RUN = 1000  # bytes


def halves(model):
    """Return plans of two ranks that read every other run of every file, whatever it is."""
    files = [(file, file.size // (2 * RUN)) for file in model.files if file.size >= 2 * RUN]
    return [_half(files, rank) for rank in range(2)]


def _half(files, rank):
    pieces = [
        Piece(n, rank * RUN, n, 0, RUN, runs, 2 * RUN, RUN) for n, (_, runs) in enumerate(files)
    ]
    return Plan(
        Key("0" * 32, "test", "1", "cpu", "tp2", 2, rank, "uint8", ""),
        tuple(PlannedFile(file.path, file.size) for file, _ in files),
        tuple(Parameter(file.path, "U8", (runs * RUN,)) for file, runs in files),
        tuple(pieces),
        tuple(Kept(n, 2 * RUN * runs, file.size) for n, (file, runs) in enumerate(files)),
    )


def rejoined(arena, model, file, driver=None):
    """Return a file of ``model`` out of an arena that follows its ``halves``."""
    content = bytearray(arena.view(file))
    if not isinstance(arena, LaidOut):
        return bytes(content)
    for plan in halves(model):
        memory = shard_of(arena, plan.key.rank, driver)
        for piece in plan.pieces:
            if plan.files[piece.file].path == model.files[file].path:
                for run in range(piece.runs):
                    place = plan.places[piece.parameter] + run * piece.stride
                    begin = piece.begin + run * piece.pitch
                    content[begin : begin + piece.run] = memory[place : place + piece.run]
    return bytes(content)


def shard_of(arena, rank, driver=None):
    """Return the bytes of a rank's memory, which may be on a device of ``driver``."""
    lent = arena.shard(rank)
    try:
        if not lent.words.device:
            return os.pread(lent.fd, lent.words.size, 0)
        device = driver.open(driver.find(lent.words.device))
        memory = AdoptedMemory(device, lent.fd, lent.words.size)
        content = bytearray(lent.words.size)
        device.copy_out(memoryview(content), memory.address)
        return bytes(content)
    finally:
        os.close(lent.fd)
