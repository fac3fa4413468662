"""Point a model's parameters at memory that holds their content already. No byte is copied.

    plan         ["model.norm.weight", "BF16", [4096]], …         in the order of the memory
    flat         | qkv_proj ......... | gate_up ........ | norm . |       the rank's memory
    model        Parameter(data → flat)                    the objects stay, with what hangs on them

All parameters of a plan or none. Tensors of the model that share a storage, as tied embeddings
do, share it afterwards; where somebody else still looks at a storage, a slice that a layer has
put aside say, the model is left as it was: that one would go on with memory of its own.

Knows torch and no engine, and reads no content: whether the memory holds what the plan says is
for the caller to know.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from cache_protocol.plans import ALIGNMENT, Parameter, Plan
from cache_protocol.ranges import Span
from cache_protocol.safetensors_header import TensorEntry
from replica_agent.engines.deferred import Deferred
from replica_agent.engines.storages import WeakStorage, has_storage, identity, reach, tensors_of
from replica_agent.views import of_flat


class UnfitError(Exception):
    """The model is not what the plan says, so that it cannot look at the plan's memory."""


class MisplacedError(Exception):
    """The memory is too short, or not where the model is: that is this host's matter."""


class _Form(NamedTuple):
    """How one tensor of the model looks at its storage."""

    name: str
    tensor: torch.Tensor
    offset: int  # elements
    shape: torch.Size
    stride: tuple[int, ...]

    @property
    def begin(self) -> int:
        """Byte of the storage where it begins."""
        return self.offset * self.tensor.element_size()

    def look_at(self, memory: torch.Tensor, begin: int) -> None:
        """Have the tensor look at ``memory``, which stands for its storage from ``begin`` on."""
        flat = memory.view(self.tensor.dtype)
        place = flat.storage_offset() + self.offset - begin // self.tensor.element_size()
        self.tensor.data = flat.as_strided(self.shape, self.stride, place)


@dataclass
class _Shared:
    """A storage of the model, and all that the model has on it."""

    storage: WeakStorage
    size: int  # bytes that its tensors reach
    device: torch.device
    forms: list[_Form]

    def move(self, memory: torch.Tensor) -> None:
        """Have its tensors look at ``memory``, all of it, as they did at their storage."""
        for form in self.forms:
            form.look_at(memory, 0)

    def renew(self, make: Callable[[torch.Tensor], torch.Tensor]) -> int:
        """Have its tensors look at what ``make`` makes of their bytes; return how many these are.

        What overlaps is made of once, and no more together than that.
        """
        renewed = 0
        for begin, end, forms in self._together():
            storage = forms[0].tensor.untyped_storage()
            blank = torch.empty(0, dtype=torch.uint8, device=self.device)
            memory = make(blank.set_(storage, begin, (end - begin,), (1,)))
            for form in forms:
                form.look_at(memory, begin)
            renewed += end - begin
        return renewed

    def move_back(self) -> None:
        """Have its tensors look at their storage again, at a new one if that has gone.

        One that has no bytes yet stays so: ``set_`` gives it all that a tensor reaches.
        """
        storage = self.storage.get()
        if storage is None:
            fresh = torch.empty(self.size, dtype=torch.uint8, device=self.device)
            storage = fresh.untyped_storage()
        size = storage.nbytes()
        for form in self.forms:
            blank = torch.empty(0, dtype=form.tensor.dtype, device=self.device)
            form.tensor.data = blank.set_(storage, form.offset, form.shape, form.stride)
            if not size:
                storage.resize_(0)

    def _together(self) -> Iterator[tuple[int, int, list[_Form]]]:
        """Yield the bytes that tensors look at, and those tensors; what overlaps is together."""
        together: list[tuple[int, int, list[_Form]]] = []
        for form in sorted(self.forms, key=lambda form: form.begin):
            end = reach(form.tensor)
            if together and form.begin < together[-1][1]:
                begin, last, forms = together.pop()
                together.append((begin, max(last, end), [*forms, form]))
            else:
                together.append((form.begin, end, [form]))
        yield from together


def adopt(model: nn.Module, plan: Plan, flat: torch.Tensor) -> int:
    """Have every parameter that ``plan`` names look at its part of ``flat``.

    What they held before is lost. Return how many bytes they hold now.

    Raises:
        UnfitError: one of them is not there, or is not of the plan's form. Then none was moved.
        MisplacedError: ``flat`` is too short, or on another device. Then none was moved, either.
    """
    if flat.dtype is not torch.uint8 or flat.numel() < plan.size:
        raise MisplacedError(f"{flat.numel()} bytes of memory where the plan lays out {plan.size}")
    shared = _by_storage(model)
    wanted = [(_fitting(shared, name, part), part) for name, part in _parts(plan, flat)]
    if len({id(each) for each, _ in wanted}) != len(wanted):
        raise UnfitError("the plan has two places for parameters that are one")
    for each, part in wanted:
        each.move(part.reshape(-1).view(torch.uint8))
    _check_unshared([each for each, _ in wanted])
    return sum(parameter.size for parameter in plan.parameters)


def place_in(model: nn.Module, flat: torch.Tensor, deferred: Deferred) -> int:
    """Give parameters that have no memory yet their place in ``flat``, one after the other.

    For memory that is reserved for the model already and holds nothing of use. What finds no
    room is left alone. Return how many bytes found a place.
    """
    place, moved = 0, []
    for each in _unique(_by_storage(model).values()):
        waiting = deferred.waits(each.forms[0].tensor) and each.device == flat.device
        if waiting and place + each.size <= flat.numel():
            each.move(flat[place : place + each.size])
            moved.append(each)
            place += -(-each.size // ALIGNMENT) * ALIGNMENT
    left = _still_held(moved)
    for each in left:
        each.move_back()
    return sum(each.size for each in moved) - sum(each.size for each in left)


def leave(model: nn.Module, flat: torch.Tensor) -> None:
    """Give what looks at ``flat`` memory of its own, uninitialised: for a model that is fed."""
    for each in _unique(_by_storage(model).values()):
        if identity(each.forms[0].tensor) == identity(flat):
            each.renew(torch.empty_like)


def move_out(model: nn.Module, storage: int) -> int:
    """Copy what looks at a storage of this identity elsewhere, so that its memory is given up.

    Return how many bytes that took; 0, and the model is as it was, where others hold the storage.
    """
    for each in _unique(_by_storage(model).values()):
        if identity(each.forms[0].tensor) == storage:
            copied = each.renew(torch.clone)
            if not _still_held([each]):
                return copied
            each.move_back()
    return 0


def strayed(model: nn.Module, plan: Plan, flat: torch.Tensor) -> list[str]:
    """Return the parameters of ``plan`` that do not look at their part of ``flat``."""
    places = {name: tensor.data_ptr() for name, tensor in tensors_of(model, every_name=True)}
    return [
        parameter.name
        for parameter, part in _parts(plan, flat)
        if places.get(parameter.name) != part.data_ptr()
    ]


def _parts(plan: Plan, flat: torch.Tensor) -> Iterator[tuple[Parameter, torch.Tensor]]:
    """Yield each parameter of ``plan`` with its part of ``flat``, in its own form."""
    for parameter, place in zip(plan.parameters, plan.places, strict=False):
        name, dtype, shape = parameter
        span = Span(place, place + parameter.size)
        yield parameter, of_flat(flat, TensorEntry(name, dtype, shape, span))


def _fitting(shared: Mapping[str, _Shared], parameter: Parameter, part: torch.Tensor) -> _Shared:
    """Return the storage of ``parameter``, which is just what ``part`` is; raises as ``adopt``."""
    each = shared.get(parameter.name)
    if each is None:
        raise UnfitError(f"the model has no parameter {parameter.name}")
    tensor = next(form.tensor for form in each.forms if form.name == parameter.name)
    if tensor.dtype != part.dtype or tensor.shape != part.shape:
        raise UnfitError(f"{parameter.name} is {_form(tensor)}, in the plan {_form(part)}")
    if tensor.device != part.device:
        raise MisplacedError(f"{parameter.name} is on {tensor.device}, its memory on {part.device}")
    if not tensor.is_contiguous() or tensor.storage_offset() or each.size != parameter.size:
        raise UnfitError(f"{parameter.name} is a part of a larger tensor")
    if any(form.tensor.dtype != tensor.dtype for form in each.forms):
        raise UnfitError(f"{parameter.name} is also seen as a tensor of another type")
    return each


def _check_unshared(moved: list[_Shared]) -> None:
    """Undo the move and raise UnfitError if anybody looks at a storage that was left."""
    left = _still_held(moved)
    if left:
        for each in moved:
            each.move_back()
        names = ", ".join(each.forms[0].name for each in left[:3])
        raise UnfitError(f"somebody else holds the memory of {len(left)} parameters: {names}")


def _still_held(moved: list[_Shared]) -> list[_Shared]:
    left = [each for each in moved if not each.storage.gone]
    if left:
        gc.collect()  # nobody may be left of whom Python does not know it yet
    return [each for each in left if not each.storage.gone]


def _by_storage(model: nn.Module) -> dict[str, _Shared]:
    """Return, by the name of each tensor of ``model``, what it shares its storage with."""
    by_name: dict[str, _Shared] = {}
    by_storage: dict[int, _Shared] = {}
    seen: set[int] = set()
    for name, tensor in tensors_of(model, every_name=True):
        if id(tensor) in seen or not has_storage(tensor):
            continue
        seen.add(id(tensor))
        key = identity(tensor)
        if key not in by_storage:
            by_storage[key] = _Shared(WeakStorage(tensor), 0, tensor.device, [])
        each = by_storage[key]
        each.forms.append(_look(name, tensor))
        each.size = max(each.size, reach(tensor))
        by_name[name] = each
    return by_name


def _look(name: str, tensor: torch.Tensor) -> _Form:
    return _Form(name, tensor, int(tensor.storage_offset()), tensor.shape, tensor.stride())


def _unique(shared: Iterable[_Shared]) -> list[_Shared]:
    return list({id(each): each for each in shared}.values())


def _form(tensor: torch.Tensor) -> str:
    return f"{tensor.dtype} of {tuple(tensor.shape)}"
