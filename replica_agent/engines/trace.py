"""Trace how a model takes its weights, and make the plan of it.

    plan ◀── settle ◀── recorder ◀── load_weights(tensors without content)
             pure       what went where        the engine's own code

The model is fed tensors on the meta device: its own code cuts and places them, no byte is read
and none is written. It is the very model that is loaded afterwards, so that it is left as it was:
what the load did to it besides copies is undone, and then there is no plan.

Knows torch and no engine. Costs about a tenth of a millisecond for each tensor of the files.
"""

import gc
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from cache_protocol.errors import MalformedError
from cache_protocol.plans import (
    Kept,
    Key,
    Parameter,
    Piece,
    Plan,
    PlannedFile,
    dump_plan,
    parse_plan,
)
from cache_protocol.ranges import Span
from cache_protocol.safetensors_header import TensorEntry
from replica_agent.engines.recorder import Recorder, UnplannableError
from replica_agent.engines.state import State
from replica_agent.engines.storages import has_storage, identity, reach, tensors_of
from replica_agent.plans.settle import Settled, settle
from replica_agent.views import dtype_name, form_of

Feed = Callable[[Iterator[tuple[str, torch.Tensor]]], object]


class TracedFile(NamedTuple):
    """One safetensors file of the model."""

    path: str
    size: int  # bytes
    header: int  # bytes up to the first tensor
    entries: Sequence[TensorEntry]


class Traced(NamedTuple):
    """What a trace found."""

    plan: Plan | None
    reason: str | None  # why there is no plan
    reads_only: bool | None  # the load writes to no tensor that it is given; None: nobody knows
    whole: frozenset[str] = frozenset()  # tensors that have to be fed where the plan is adopted


class _Destination(NamedTuple):
    """A storage of the model, by the first name that it has."""

    name: str
    tensor: torch.Tensor
    size: int | None  # bytes; None where it cannot be laid out


def trace(model: nn.Module, files: Sequence[TracedFile], feed: Feed, key: Key | None) -> Traced:
    """Return the plan by which ``feed`` loads ``model``. The model is as it was afterwards.

    Args:
        model: with its parameters made; they may have storages without bytes.
        files: all that hold weights.
        feed: loads the weights of ``model``; may be called again, with others.
        key: what the plan holds for; None where there cannot be one, whatever the load reads.
    """
    if any(map(is_lazy, model.parameters())):
        return Traced(None, "the model makes its parameters while it loads", reads_only=None)
    state = State(model)
    destinations = _destinations(model, key.device if key else "")
    recorder = Recorder([each.tensor for each in destinations])
    files = sorted(files)
    reason = _record(recorder, files, feed)
    changed = state.restore()
    if reason is None and changed:
        reason = f"the model replaces {changed} while it loads"
    if reason is not None:
        return Traced(None, reason, reads_only=False if recorder.changed else None)
    reads_only = not recorder.changed
    if key is None:
        return Traced(None, None, reads_only=reads_only)
    seen = recorder.seen
    seen.whole |= _held(recorder)
    settled = settle(seen, [each.size for each in destinations])
    if not settled.planned:
        return Traced(None, "no parameter can be laid out", reads_only=reads_only)
    plan = _plan(key, files, destinations, settled)
    try:
        parse_plan(dump_plan(plan))
    except MalformedError as error:  # everybody would refuse it: too long, for one
        return Traced(None, str(error), reads_only=reads_only)
    return Traced(plan, None, reads_only=reads_only, whole=_names(files, settled.whole))


def _record(recorder: Recorder, files: Sequence[TracedFile], feed: Feed) -> str | None:
    """Feed the model; return why what was seen does not count, None when it does."""
    forms = deque((entry.name, form_of(entry)) for file in files for entry in file.entries)
    try:
        with recorder:
            feed(recorder.feed(forms))
    except UnplannableError:
        pass  # the recorder has it
    except Exception as error:  # noqa: BLE001 - the model's own code met tensors without content
        return recorder.refused or f"{type(error).__name__}: {str(error)[:200]}"
    return recorder.refused


def _held(recorder: Recorder) -> set[int]:
    """Return the sources that the model keeps, and that it has to be given again."""
    if recorder.held:
        gc.collect()  # what is left in cycles is not kept
    return recorder.held


def _destinations(model: nn.Module, device: str) -> list[_Destination]:
    """Return the storages of ``model``, parameters first."""
    shared: dict[int, list[tuple[str, torch.Tensor]]] = {}
    for name, tensor in tensors_of(model):
        if has_storage(tensor) and not tensor.is_meta:
            shared.setdefault(identity(tensor), []).append((name, tensor))
    return [
        _Destination(*each[0], _size([tensor for _, tensor in each], device))
        for each in shared.values()
    ]


def _size(tensors: Sequence[torch.Tensor], device: str) -> int | None:
    """Return the bytes of the first of ``tensors`` if it can be laid out; they share a storage."""
    first = tensors[0]
    size = first.numel() * first.element_size()
    fit = (
        size
        and first.is_contiguous()
        and not first.storage_offset()
        and first.device.type == device
        and dtype_name(first.dtype)
        and all(each.dtype == first.dtype and reach(each) <= size for each in tensors)
    )
    return size if fit else None


def _plan(
    key: Key,
    files: Sequence[TracedFile],
    destinations: Sequence[_Destination],
    settled: Settled,
) -> Plan:
    planned = sorted(settled.planned)
    index = {destination: number for number, destination in enumerate(planned)}
    sources = [(n, entry) for n, file in enumerate(files) for entry in file.entries]
    pieces = [
        Piece(sources[of][0], sources[of][1].span.begin + begin, index[to], *rest)
        for of, to, runs in settled.laid
        for begin, *rest in runs
    ]
    kept = [Kept(number, 0, file.header) for number, file in enumerate(files)]
    kept += [Kept(sources[n][0], *_ends(sources[n][1].span)) for n in sorted(settled.whole)]
    return Plan(
        key,
        tuple(PlannedFile(file.path, file.size) for file in files),
        tuple(_parameter(destinations[number]) for number in planned),
        tuple(pieces),
        tuple(_joined(kept)),
    )


def _names(files: Sequence[TracedFile], sources: Collection[int]) -> frozenset[str]:
    names = [entry.name for file in files for entry in file.entries]
    return frozenset(names[source] for source in sources)


def _parameter(destination: _Destination) -> Parameter:
    tensor = destination.tensor
    return Parameter(destination.name, str(dtype_name(tensor.dtype)), tuple(tensor.shape))


def _ends(span: Span) -> tuple[int, int]:
    return span.begin, span.end


def _joined(kept: Sequence[Kept]) -> Iterator[Kept]:
    """Yield ``kept``, with those in one that meet."""
    last: Kept | None = None
    for each in sorted(kept):
        if last is not None and last.file == each.file and each.begin <= last.end:
            last = last._replace(end=max(last.end, each.end))
        else:
            if last is not None:
                yield last
            last = each
    if last is not None:
        yield last
