"""One model in host memory as the ranks of an engine want it: each byte goes to who reads it.

    files     [header][ ░░░░░░░░░░░░░░ ][kept][ ░░░░ ]     a memfd; ░ are holes, which cost nothing
    rank 0    [parameter a][parameter b] …                 a memfd each, as ``Plan.places`` says:
    rank 1    [parameter a][parameter b] …                 zeros where no piece goes

What comes off the wire is cut at the pieces of the plans and written to the memory of every rank
that reads it. Runs that lie side by side there, as those of a row-parallel weight do, are gathered
into one call. Nobody can ask the arena for its bytes back: nothing is kept that no rank reads.
"""

import errno
import os
from collections.abc import Sequence
from dataclasses import replace

from cache_protocol.errors import CapacityError
from cache_protocol.manifest import Model
from cache_protocol.plans import Plan
from cache_protocol.ranges import Span
from replica_agent.arenas.bounce import write_at
from replica_agent.arenas.host import PAGE, HostArena, reopened, seal, sealed_memory
from replica_agent.lending import Lent, ShardWords
from replica_agent.plans.scatter import Scatter, Write

_MOST = os.sysconf("SC_IOV_MAX")  # runs that one call takes


class LaidOutArena(HostArena):
    """The files of one model, for ranks with plans. Safe for threads: each byte has one writer."""

    def __init__(self, name: str, model: Model, plans: Sequence[Plan]) -> None:
        """Make room; no page is touched yet.

        Args:
            name: of the memfds, for people who look at /proc.
            model: what comes.
            plans: of ranks, each of another one. They name no file that ``model`` lacks.

        Raises:
            OSError: the kernel refuses.
        """
        super().__init__(name, model)
        self._scatter = Scatter(plans, [file.path for file in model.files])
        self._ranks = {plan.key.rank: number for number, plan in enumerate(plans)}
        self._words = [ShardWords(p.fingerprint, max(p.size, 1)) for p in plans]
        self._unconfirmed = set(range(len(model.files)))
        self._shards: list[int] = []
        try:
            for rank, words in zip(self._ranks, self._words, strict=True):
                self._shards.append(sealed_memory(f"{name}-rank{rank}", words.size))
        except OSError:
            self.forget()
            raise

    def store(self, file: int, span: Span, data: memoryview) -> None:
        """Write ``data`` to the ranks that read it, and to the files what is kept of it."""
        for part in self._scatter.kept(file, span):
            super().store(file, part, data[part.begin - span.begin : part.end - span.begin])
        try:
            for write in self._scatter.writes(file, span):
                write_runs(self._shards[write.shard], data, write)
        except OSError as error:
            raise CapacityError(f"the arena takes no more bytes: {error}") from error

    def read(self, file: int, span: Span) -> memoryview:
        """Raise OSError: see above."""
        raise OSError(errno.EOPNOTSUPP, f"the bytes {span} of file {file} went to ranks")

    def confirm(self, file: int) -> None:
        """Keep everybody from writing to what ranks have, once all of it is confirmed."""
        self._unconfirmed.discard(file)
        if not self._unconfirmed:
            for shard in self._shards:
                seal(shard)

    def shard(self, rank: int) -> Lent | None:
        """Return the memory of ``rank``, and a descriptor of it that is the caller's.

        None when no plan is about that rank. Raises as ``reopened`` does.
        """
        number = self._ranks.get(rank)
        if number is None:
            return None
        return Lent(self._words[number], reopened(lambda: self._descriptor(number)))

    def _descriptor(self, number: int) -> int:
        """Return that of a shard; -1 once it is closed, which another thread may do meanwhile."""
        shards = self._shards
        return shards[number] if shards else -1

    def close(self) -> None:
        """Close the descriptors; memory goes with the last view of it."""
        super().close()
        shards, self._shards = self._shards, []  # in this order, as there
        for shard in shards:
            os.close(shard)


def room_for(model: Model, plans: Sequence[Plan]) -> int:
    """Return the bytes that a LaidOutArena takes in the end."""
    # Without pieces, of which large models have hundreds of thousands: only one scatter needs them.
    only_kept = [replace(plan, pieces=()) for plan in plans]
    scatter = Scatter(only_kept, [file.path for file in model.files])
    kept = sum(
        -(-part.size // PAGE) * PAGE
        for number, file in enumerate(model.files)
        for part in scatter.kept(number, Span(0, file.size))
    )
    return kept + sum(plan.size for plan in plans)


def write_runs(fd: int, data: memoryview, write: Write) -> None:
    """Write the runs of ``data`` that ``write`` names to their places in ``fd``; OSError."""
    _, begin, place, run, runs, pitch, stride = write
    if runs == 1 or pitch == run == stride:
        write_at(fd, data[begin : begin + run * runs], place)
        return
    each = [data[at : at + run] for at in range(begin, begin + pitch * runs, pitch)]
    if stride != run:
        for number, part in enumerate(each):
            write_at(fd, part, place + number * stride)
        return
    for first in range(0, runs, _MOST):
        _write_side_by_side(fd, each[first : first + _MOST], place + first * run)


def _write_side_by_side(fd: int, parts: list[memoryview], place: int) -> None:
    written = os.pwritev(fd, parts, place)
    if written != len(parts) * len(parts[0]):  # in the middle of one, so that joined is easier
        write_at(fd, memoryview(b"".join(parts))[written:], place + written)
