"""One model on the GPUs of an engine's ranks, laid out as their parameters: each byte once.

    socket ──> slot of the ring ──digest──> accept ──┬──> rank 0's memory, on its device
               (read by every device)                ├──> rank 1's, on its own, or on the same
                                                     └──> files on the host: what plans keep

Runs that lie apart go by 2-D copies, on the lane's stream of each device that wants some of the
chunk. The devices copy side by side, and a slot is free when the slowest has read it. Nobody can
ask the arena for its bytes back.

Once all is confirmed we need the devices no more, since descriptors keep the memory, and give our
mappings up. Whether the devices themselves go then is for their owner to say: see ``ranks``.
"""

import errno
import os
import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from cache_protocol.errors import GenerationGoneError
from cache_protocol.manifest import Model
from cache_protocol.plans import Plan
from cache_protocol.ranges import Span
from replica_agent.arenas.cuda.driver import Device, DriverError
from replica_agent.arenas.cuda.passage import Passage
from replica_agent.arenas.cuda.ring import Queue, Ring
from replica_agent.arenas.cuda.shared import SharedMemory
from replica_agent.arenas.host import HostArena
from replica_agent.lending import Lent, ShardWords
from replica_agent.plans.scatter import Scatter, Write


class Owner(Protocol):
    """Who opened the devices, for all arenas of a boot, and keeps them open."""

    def lose(self, error: DriverError) -> None:
        """Take note of the error that ends an arena; maybe more than once."""
        ...

    def lend(self) -> None:
        """Take note that an engine is about to have an arena's memory."""
        ...

    def leave(self) -> None:
        """Take note that an arena has everything, and needs the devices no more; said once."""
        ...


class DeviceShards(HostArena):
    """The files of one model, for ranks with plans. Safe for threads: each byte has one writer."""

    in_place = False

    def __init__(  # noqa: PLR0913, PLR0917 - what it is made of
        self,
        name: str,
        model: Model,
        plans: Sequence[Plan],
        devices: Sequence[Device],
        slots: int,
        owner: Owner,
    ) -> None:
        """Take the ranks' memory, and a ring of ``slots`` that all of their devices read.

        Args:
            name: of the memory on the host, for people who look at /proc.
            model: what comes.
            plans: of ranks, each of another one. They name no file that ``model`` lacks.
            devices: for each plan the one that it is on.
            slots: of the ring.
            owner: of the devices.

        Raises:
            DriverError: a device has no room, or fails.
            OSError: the kernel refuses memory on the host.
        """
        super().__init__(name, model)
        self._scatter = Scatter(plans, [file.path for file in model.files])
        self._ranks = {plan.key.rank: number for number, plan in enumerate(plans)}
        self._words = [
            ShardWords(p.fingerprint, max(p.size, 1), d.info.uuid)
            for p, d in zip(plans, devices, strict=True)
        ]
        distinct = list(dict.fromkeys(devices))
        self._device = [distinct.index(device) for device in devices]  # of each shard
        self._owner = owner
        self._lending = threading.Lock()
        self._descriptors: list[int] = []  # of the shards
        self._shards: list[SharedMemory] = []  # our mappings of them
        try:
            self._shards = _shared(devices, [plan.size for plan in plans])
            self._descriptors = [shard.take() for shard in self._shards]
            self._passage = Passage(Ring(distinct, slots), self._sizes, owner.lose)
        except BaseException:
            self._give_up()
            super().close()
            raise

    def room(self, file: int, span: Span) -> memoryview:
        """Return a part of the slot in which the calling thread has the chunk; may wait for one."""
        return self._passage.room(file, span)

    def store(self, file: int, span: Span, data: memoryview) -> None:
        """Nothing is left to do: the chunk waits in its slot for its digest."""

    def accept(self, file: int, span: Span) -> None:
        """Keep what is kept of the chunk that the calling thread holds, and queue the copies."""
        data = self._passage.chunk(file, span)
        for part in self._scatter.kept(file, span):
            super().store(file, part, data[part.begin - span.begin : part.end - span.begin])
        self._passage.send(file, span, self._queues(file, span))

    def read(self, file: int, span: Span) -> memoryview:
        """Raise OSError: see above."""
        raise OSError(errno.EOPNOTSUPP, f"the bytes {span} of file {file} went to ranks")

    def confirm(self, file: int) -> None:
        """Wait for the file's copies; with the last file the ring is of no more use."""
        if self._passage.confirm(file):
            with self._lending:
                self._unmap()
            self._owner.leave()

    def shard(self, rank: int) -> Lent | None:
        """Return the memory of ``rank``, and a descriptor of it that is the caller's.

        Raises:
            GenerationGoneError: the arena was closed.
            OSError: this process has no descriptor left.
        """
        number = self._ranks.get(rank)
        if number is None:
            return None
        with self._lending:
            if not self._descriptors:
                raise GenerationGoneError("the memory was given up; nothing is left to load")
            self._owner.lend()
            return Lent(self._words[number], os.dup(self._descriptors[number]))

    def close(self) -> None:
        """Give up the ring and the devices' memory; an engine that took some keeps it."""
        self._passage.close()
        self._give_up()
        super().close()

    def _queues(self, file: int, span: Span) -> dict[int, Queue]:
        """Return what queues the copies of a chunk, by device."""
        writes: dict[int, list[Write]] = defaultdict(list)
        for write in self._scatter.writes(file, span):
            writes[self._device[write.shard]].append(write)
        return {number: self._queue(parts) for number, parts in writes.items()}

    def _queue(self, writes: Sequence[Write]) -> Queue:
        memories = self._shards

        def queue(slot: memoryview, stream: int) -> None:
            for write in writes:
                _copy(memories[write.shard], write, slot, stream)

        return queue

    def _give_up(self) -> None:
        with self._lending:
            descriptors, self._descriptors = self._descriptors, []
            self._unmap()
        for descriptor in descriptors:
            os.close(descriptor)

    def _unmap(self) -> None:
        """Give our mappings up, with ``_lending`` held and no copy on its way."""
        shards, self._shards = self._shards, []
        for shard in shards:
            shard.close()


def _copy(memory: SharedMemory, write: Write, slot: memoryview, stream: int) -> None:
    """Queue one write out of a chunk: runs that join at both ends are one."""
    _, begin, place, run, runs, pitch, stride = write
    device, address = memory.device, memory.address + place
    if runs == 1 or pitch == run == stride:
        device.copy_in(address, slot[begin : begin + run * runs], stream)
    else:
        end = begin + (runs - 1) * pitch + run
        device.copy_in_2d(address, stride, slot[begin:end], pitch, run, runs, stream)


def _shared(devices: Sequence[Device], sizes: Sequence[int]) -> list[SharedMemory]:
    """Return memory on each device; they make and clear it side by side."""
    with ThreadPoolExecutor(len(devices)) as pool:
        made = list(pool.map(_tried, devices, sizes))
    memories = [each for each in made if isinstance(each, SharedMemory)]
    failed = [each for each in made if not isinstance(each, SharedMemory)]
    if failed:
        for memory in memories:
            memory.close()
        raise type(failed[0])(*failed[0].args)
    return memories


def _tried(device: Device, size: int) -> SharedMemory | DriverError | OSError:
    """Return the error without its frames, and who gets it raises it anew.

    A frame that refers to an error that refers to the frame would keep devices open.
    """
    try:
        return SharedMemory(device, size)
    except (DriverError, OSError) as error:
        return error.with_traceback(None)
