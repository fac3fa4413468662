"""What one consumer is given: a model's memory and a rank's, then the news of what is in them.

It only looks at the transfer.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from cache_protocol.plans import checkpoint_digest
from replica_agent.handover.lines import Lines
from replica_agent.handover.messages import Arrived, Layout, Placed, arrived, files, layout
from replica_agent.lending import Lent, SharedArena
from replica_agent.transfer import Transfer


def send_memory(transfer: Transfer, model: str, lent: Lent | None, lines: Lines) -> None:
    """Give a consumer the memory of ``model``, with ``lent``, and say which files are where.

    Raises:
        GenerationGoneError: the arena was closed meanwhile.
        OSError: the consumer has gone, or this process has no descriptor left.
    """
    manifest = transfer.manifest
    with _closing(lent):
        arena = arena_of(transfer, model)
        placed = [
            Placed(file.path, place, file.size)
            for file, place in zip(manifest.models[model].files, arena.places[:-1], strict=True)
        ]
        with _read_only(arena) as fd:
            size = os.fstat(fd).st_size
            digest = checkpoint_digest(manifest.models[model], manifest.generation)
            shard = lent.words if lent else None
            words = Layout(manifest.generation, size, len(placed), digest, shard)
            lines.write(layout(words), [fd, lent.fd] if lent else [fd])
    for message in files(placed):
        lines.write(message)


def send_arrivals(transfer: Transfer, model: str, lines: Lines, take: Callable[[], None]) -> None:
    """Tell a consumer what has arrived, until all of it is confirmed.

    ``take`` is called before it is told that, and may raise what speaks against it.

    Raises:
        ReplacedError, CacheError: it will not be.
        OSError: the consumer has gone.
    """
    seen, told = 0, set[Arrived]()
    while parts := transfer.arrivals(model, seen):
        seen += len(parts)
        # A chunk may come again with other content. Whoever has it must not count it twice
        # and learns of it from "rewritten".
        news = [p for part in parts if (p := Arrived(*part)) not in told]
        told.update(news)
        for message in arrived(news):
            lines.write(message)
    arena_of(transfer, model).seal()
    take()
    lines.write({"confirmed": True, "rewritten": transfer.models[model].rewritten})


def arena_of(transfer: Transfer, model: str) -> SharedArena:
    """Return the memory of this very transfer: the next one may be about the same generation."""
    return cast("SharedArena", transfer.arenas[model])


@contextmanager
def _read_only(arena: SharedArena) -> Iterator[int]:
    fd = arena.lend()
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _closing(lent: Lent | None) -> Iterator[None]:
    try:
        yield
    finally:
        if lent is not None:
            os.close(lent.fd)
