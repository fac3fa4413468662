"""What plans have to do with one load: say what it reads, and take memory that is laid out so.

    plan of the agent's memory ──┐
                                 ├─ the same?  yes: parameters become views of the memory
    trace of this very model ────┘             no:  refused; the agent brings plain files

The trace decides, and nothing that came from elsewhere: a plan that is out of date, of another
layout or forged has another fingerprint. Knows torch and no engine.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

import torch

from cache_protocol.errors import CacheError
from cache_protocol.plans import Key, Plan, dump_plan
from replica_agent.engines.adopt import (
    MisplacedError,
    UnfitError,
    adopt,
    leave,
    move_out,
    place_in,
    strayed,
)
from replica_agent.engines.deferred import Deferred
from replica_agent.engines.registration import Through, as_they_come, not_pinned, registering
from replica_agent.engines.storages import identity, tensors_of
from replica_agent.engines.trace import Traced, TracedFile, trace
from replica_agent.handover.client import Attached, Shard
from replica_agent.handover.headers import Headed
from replica_agent.plans.plain import plain

if TYPE_CHECKING:
    from torch import nn

Weights = Iterator[tuple[str, torch.Tensor]]
Wanted = Callable[[str], bool]  # by the path of a file


class RefusedError(Exception):
    """The memory that the agent laid out is not what this engine reads."""


class Subject(NamedTuple):
    """What is loaded, as far as plans go."""

    model: "nn.Module"
    key: Callable[[str], Key]  # by the checkpoint's digest; MalformedError where there is none
    take: Callable[[Weights], object]  # the model's own way to take its weights, no more


class Planning:
    """The plans of one load, whose model may be without memory until it is known where it goes."""

    def __init__(self, subject: Subject, deferred: Deferred | None = None) -> None:
        """Plan the load of ``subject``, which was built under ``deferred``."""
        self._subject = subject
        self._deferred = deferred
        self._traced: Traced | None = None
        self._source: tuple[str, Sequence[Headed]] = "", ()  # what was traced: checkpoint, files
        self._useless: Plan | None = None  # the engine's own, which it could not use
        self._plan: Plan | None = None  # that was adopted
        self._flat: torch.Tensor | None = None  # its memory
        self._declared = False  # and whether the engine counts on it
        self._places: dict[str, int] = {}  # address by parameter
        self.copied: str | None = None  # where a GPU copied: out of which memory

    @property
    def document(self) -> bytes | None:
        """The plan for the next replica, as it travels; None where there is none.

        It lays nothing out where it is one that this engine could not use.
        """
        if self.plan is None:
            return None
        return dump_plan(plain(self.plan.key) if self.useless else self.plan)

    @property
    def plan(self) -> Plan | None:
        """What this engine reads; None where that follows no plan."""
        return self._traced.plan if self._traced else None

    @property
    def useless(self) -> bool:
        """Whether memory that is laid out by the plan was of no use."""
        return self.plan is not None and self.plan == self._useless

    @property
    def reason(self) -> str | None:
        """Why there is no plan; None when there is one."""
        return self._traced.reason if self._traced else "files' headers came too late for a trace"

    @property
    def adopted(self) -> frozenset[str]:
        """The parameters that need not be fed."""
        return frozenset(p.name for p in self._plan.parameters) if self._plan else frozenset()

    @property
    def size(self) -> int:
        """Bytes of them."""
        return sum(p.size for p in self._plan.parameters) if self._plan else 0

    def trace(self, attached: Attached, files: Sequence[Headed]) -> Traced:
        """Find out what the model reads of ``files``, once for the same. Feed it afterwards."""
        source = attached.checkpoint, files
        if self._traced is None or self._source != source:
            self._source = source
            self._traced = self._trace(*source)
        return self._traced

    def check_traced(self, files: Sequence[Headed]) -> None:
        """Return if the headers of ``files`` are those that were traced; else RefusedError."""
        if self._source[1] != files:
            raise RefusedError("a file came again with another header")

    def adopt(self, attached: Attached, shard: Shard, wanted: Wanted) -> frozenset[str]:
        """Have the model look at ``shard``; return the tensors that have to be fed all the same.

        Raises:
            RefusedError: that cannot be. The model is as it was.
            CacheError: the agent, or the pull, failed.
        """
        traced = self.trace(attached, attached.headers(wanted))
        if traced.plan is None:
            raise RefusedError(f"this engine's reads follow no plan: {traced.reason}")
        if traced.plan.fingerprint != shard.plan:
            raise RefusedError("this engine reads other bytes than the plan says")
        flat = self._flat if self._flat is not None else memory_of(shard)
        try:
            adopt(self._subject.model, traced.plan, flat)
        except MisplacedError as error:
            raise RefusedError(str(error)) from error
        except UnfitError as error:
            raise self._in_vain(str(error)) from error
        self._plan, self._flat = traced.plan, flat
        self._end_deferral()
        return traced.whole

    def not_fed(self, error: Exception) -> RefusedError:
        """Return why the rest could not be fed, once ``error`` came out of the model's own code.

        Memory that ran out is this host's, and says nothing about a model like this one elsewhere.
        """
        if _is_exhaustion(error):
            return RefusedError(f"memory ran out while the rest was fed: {error!r}")
        return self._in_vain(f"the model does not take the rest alone: {error}")

    def pinning(self, attached: Attached) -> AbstractContextManager[Through]:
        """Return what weights go through on their way to a model that copies them to its GPU.

        They are pinned meanwhile, where the model is known to write to none of them.
        """
        device, why = self._device, self._why_not_pinned()
        if why is None:
            return registering(*attached.memory, device, tell=self._note)
        if device.type == "cuda":
            self._note(not_pinned(why))
        return nullcontext(as_they_come)

    def _why_not_pinned(self) -> str | None:
        if self._traced is None:
            return "files' headers came too late for a trace"
        if self._traced.reads_only is None:
            return f"nobody knows whether this load only reads: {self._traced.reason}"
        if not self._traced.reads_only:
            return "this load writes to the tensors that it is given"
        return None

    def _note(self, copied: str) -> None:
        self.copied = copied

    def check(self) -> None:
        """Return if every parameter that was adopted is where it was put; else RefusedError."""
        if self._plan is None or self._flat is None:
            return
        away = strayed(self._subject.model, self._plan, self._flat)
        if away:
            raise self._in_vain(f"{len(away)} parameters were moved, {away[0]} one of them")

    def remember(self) -> None:
        """Remember where the parameters of the plan are, for ``moved``."""
        self._places = self._addresses()

    def moved(self) -> list[str]:
        """Return the parameters of the plan that are no longer where they were."""
        now = self._addresses()
        return [name for name, address in self._places.items() if now.get(name) != address]

    def move_out(self) -> int:
        """Give adopted memory up of which the engine has no use any more, and return how much.

        That is so once it has made most parameters anew: what is left is copied elsewhere then.
        """
        if self._flat is None or self._plan is None or self._declared:
            return 0
        away = set(strayed(self._subject.model, self._plan, self._flat))
        left = sum(p.size for p in self._plan.parameters if p.name not in away)
        if 2 * left > self.size:
            return 0
        given_up = self._flat.numel()
        storage, self._flat = identity(self._flat), None
        return given_up if move_out(self._subject.model, storage) else 0

    def settle(self) -> None:
        """Give the model memory that it can be fed into, whatever came before."""
        if self._flat is not None and not self._declared:
            self._leave()
        elif self._flat is not None and self._deferred is not None:
            place_in(self._subject.model, self._flat, self._deferred)
        self._plan = None
        self._end_deferral()

    def abandon(self) -> None:
        """Give the model memory of its own, wherever it is: others may write to what they laid out.

        Their pull failed, or they are silent, and nobody can tell when a copy of theirs lands.
        """
        if self._flat is not None:
            self._leave()
        self._plan = None
        self._end_deferral()

    def hold(self, flat: torch.Tensor) -> None:
        """Take ``flat``, memory that the engine's budget counts: the model goes there in any case.

        Before anything else, and unless what brings its weights fails.
        """
        self._flat, self._declared = flat, True

    def _in_vain(self, reason: str) -> RefusedError:
        """Return ``reason`` as an error, and note that no engine like this one can use its plan."""
        self._useless = self.plan
        return RefusedError(reason)

    def _trace(self, checkpoint: str, files: Sequence[Headed]) -> Traced:
        model, key, take = self._subject
        traced_files = [TracedFile(*file) for file in files]
        try:
            return trace(model, traced_files, take, key(checkpoint))
        except CacheError as error:
            why = str(error)
        if self._device.type != "cuda":  # nothing would be pinned
            return Traced(None, why, reads_only=None)
        traced = trace(model, traced_files, take, None)
        return traced._replace(reason=traced.reason or why)

    @property
    def _device(self) -> torch.device:
        parameters = self._subject.model.parameters()
        return next((p.device for p in parameters), torch.device("cpu"))

    def _addresses(self) -> dict[str, int]:
        names = {parameter.name for parameter in self.plan.parameters} if self.plan else set()
        tensors = dict(tensors_of(self._subject.model))
        return {name: tensors[name].data_ptr() for name in names & tensors.keys()}

    def _leave(self) -> None:
        """Have the model look at memory of its own, which it gets once the other was let go of."""
        assert self._flat is not None  # noqa: S101 - the callers' condition
        with Deferred(self._flat.device) as bare:
            leave(self._subject.model, self._flat)
            self._flat = None
            bare.end()

    def _end_deferral(self) -> None:
        if self._deferred is not None:
            self._deferred.end()
            self._deferred = None


def memory_of(shard: Shard) -> torch.Tensor:
    """Return the bytes of ``shard``, which live as long as the tensor or a view of it.

    Raises:
        RefusedError: this process cannot have them.
    """
    try:
        if not shard.device:
            return torch.frombuffer(shard.map(), dtype=torch.uint8)
        return _on_device(shard)
    except (CacheError, OSError) as error:
        raise RefusedError(f"the memory cannot be mapped here: {error}") from error


def _is_exhaustion(error: Exception) -> bool:
    """Return whether ``error`` says that memory ran out: torch has no type for that of a host."""
    out = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return out or "can't allocate memory" in str(error)


def _on_device(shard: Shard) -> torch.Tensor:
    # Here, because few hosts have the driver's bindings.
    from replica_agent.arenas.cuda.driver import DriverError  # noqa: PLC0415
    from replica_agent.engines.device_shard import device_shard  # noqa: PLC0415

    descriptor = shard.take()
    try:
        return device_shard(descriptor, shard.size, shard.device)
    except DriverError as error:
        raise RefusedError(f"the device's memory cannot be mapped here: {error}") from error
    finally:
        os.close(descriptor)
