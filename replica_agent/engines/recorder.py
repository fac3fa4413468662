"""Watch a model take its weights, and write down which bytes go where. Moves none.

    source        a tensor of a file, on the meta device: a form without content
    destination   a parameter or a buffer of the model
    derived       whatever was computed from one of these: its content is void

Views of a source are followed. A copy of one into a destination is written down and not done; all
else that looks at a source means that the whole of it is read, all else that looks at or goes into
a destination that the engine makes that one itself. What cannot be told ends the trace: a guess
here would be a wrong weight.

Knows torch and no engine. It sees what goes through torch's dispatcher in the thread that entered
it; in any other thread, and in code that is not torch's, a source has no content to be taken.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from replica_agent.engines.storages import WeakStorage, has_storage, identity
from replica_agent.plans.pieces import Look
from replica_agent.plans.settle import Seen, Write

_aten = torch.ops.aten
_FILLS = {_aten.fill_.Scalar, _aten.fill_.Tensor, _aten.zero_.default}


class UnplannableError(Exception):
    """The model takes its weights in a way that no plan can tell."""


class _Part(Enum):
    SOURCE = "source"
    DESTINATION = "destination"
    DERIVED = "derived"


class _Role(NamedTuple):
    part: _Part
    number: int  # of the source or destination
    storage: WeakStorage  # as long as it is here no other storage has its identity


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, copies from sources to destinations are written down in ``seen``."""

    def __init__(self, destinations: Sequence[torch.Tensor]) -> None:
        """Watch ``destinations``, which have a storage each and no two the same."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen = Seen()
        self.changed: set[int] = set()  # sources that the model wrote to
        self.refused: str | None = None  # why there can be no plan; also where it was caught
        self._roles: dict[int, _Role] = {}
        self._written: set[int] = set()  # destinations whose content is void by now
        self._sources: list[WeakStorage] = []
        self._fed: int | None = None  # the source that the model is at
        for number, tensor in enumerate(destinations):
            self._take_part(tensor, _Part.DESTINATION, number)

    def feed(self, tensors: deque[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
        """Take ``tensors``, which are on the meta device, and yield them: the sources, in order."""
        while tensors:
            name, tensor = tensors.popleft()
            self._fed = len(self._sources)
            role = self._take_part(tensor, _Part.SOURCE, self._fed)
            self._sources.append(role.storage)
            yield name, tensor
            del tensor  # or it would be held when the next one comes
        self._fed = None

    @property
    def held(self) -> set[int]:
        """Sources that somebody still holds."""
        return {number for number, storage in enumerate(self._sources) if not storage.gone}

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - as torch has them
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run one operation, or write it down."""
        named = kwargs or {}
        if func.is_view:  # shares the storage, and is known by it
            return func(*args, **named)
        if func is _aten.copy_.default and any(map(self._role, args[:2])):
            return self._copy(args[0], args[1])
        involved = [t for t in _tensors((args, *named.values())) if self._role(t) is not None]
        if involved and func._schema.is_mutable:  # noqa: SLF001 - torch's own modes ask it so
            return self._write(func, args, named, involved)
        involved = [t for t in involved if self._look_into(t)]
        if not involved:
            return func(*args, **named)
        if func is _aten._to_copy.default and _only_moves(args[0], named):  # noqa: SLF001
            return args[0].view(args[0].shape)  # same content elsewhere, and it has none here
        made = func(*args, **named)
        self._derive(func, made, involved)
        return made

    def _write(
        self,
        func: Any,  # noqa: ANN401
        args: Sequence[Any],
        named: Mapping[str, Any],
        involved: Sequence[torch.Tensor],
    ) -> Any:  # noqa: ANN401
        """Write down a change that is no copy, and do not make it."""
        if func in _FILLS and self._is_part(args[0], _Part.DESTINATION):
            return self._fill(args[0], args[1] if len(args) > 1 else 0)
        return self._change(func, args, named, involved)

    def _copy(self, destination: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Write a copy down."""
        to, of = self._role(destination), self._role(source)
        if to is None or to.part is not _Part.DESTINATION:
            self._void(destination, [source])
        elif of is None or not self._look_into(source):
            self._refuse("the model puts values of its own into a parameter while it loads")
        elif of.part is _Part.SOURCE and _is_plain(destination, source):
            taken = look(source.expand(destination.shape))
            write = Write(of.number, to.number, False, taken, look(destination))
            self._written.add(to.number)
            self.seen.writes.append(write)
            if self._fed not in (None, of.number):  # it was put aside until another one came
                self._needs_again(to.number)
        else:
            self._look_at(source)
            self._needs_again(to.number)
        return destination

    def _fill(self, destination: torch.Tensor, value: object) -> torch.Tensor:
        """Write zeros down."""
        to = self._role(destination)
        if isinstance(value, torch.Tensor) and self._role(value) is not None:
            self._look_at(value)
            value = None
        if to is None or (value is not None and not _is_zero(value)):
            self._refuse("the model fills a parameter with a value of its own while it loads")
        elif self._fed is None or value is None:
            self._needs_again(to.number)
        else:
            self._written.add(to.number)
            placed = look(destination)
            self.seen.writes.append(Write(self._fed, to.number, True, placed, placed))
        return destination

    def _change(
        self,
        func: Any,  # noqa: ANN401
        args: Sequence[Any],
        named: Mapping[str, Any],
        involved: Sequence[torch.Tensor],
    ) -> Any:  # noqa: ANN401
        """Take note of a change that is no fill either."""
        changed = list(_changed(func, args, named))
        others = [t for t in involved if not any(t is each for each in changed)]
        taken = [t for t in others if self._look_into(t)]
        for each in changed:
            if self._is_part(each, _Part.DESTINATION) and not taken:
                self._refuse(f"the model computes a parameter with {func} while it loads")
            self._void(each, taken)
        returns = len(func._schema.returns)  # noqa: SLF001 - as above
        if returns > 1 or (returns and len(changed) != 1):
            self._refuse(f"{func} looks at weights while they are loaded")
        return changed[0] if returns else None

    def _void(self, changed: torch.Tensor, taken: Sequence[torch.Tensor]) -> None:
        """Note that ``changed`` holds what was made of ``taken``, and void in truth."""
        for each in taken:
            self._look_at(each)
        role = self._role(changed)
        if role is None:
            self._take_part(changed, _Part.DERIVED, 0)
        elif role.part is _Part.SOURCE:
            self.changed.add(role.number)
        elif role.part is _Part.DESTINATION:
            self._needs_again(role.number)
        self._look_at(changed)

    def _derive(self, func: Any, made: Any, involved: Sequence[torch.Tensor]) -> None:  # noqa: ANN401
        """Note what an operation made of tensors that have a part here."""
        leaves = [leaf for leaf in tree_leaves(made) if leaf is not None]
        if not all(isinstance(leaf, torch.Tensor) for leaf in leaves):
            self._refuse(f"the model decides by the content of weights while it loads: {func}")
        fresh = [leaf for leaf in leaves if self._role(leaf) is None]
        if not fresh and leaves:  # a view that is not declared as one
            return
        for each in involved:
            self._look_at(each)
        for each in fresh:
            if not has_storage(each):
                self._refuse(f"{func} makes something of weights that is no plain tensor")
            self._take_part(each, _Part.DERIVED, 0)

    def _needs_again(self, destination: int) -> None:
        """Note that the model makes a destination itself, when it is given what it is at."""
        self._written.add(destination)
        self.seen.own.add(destination)
        if self._fed is not None:
            self.seen.whole.add(self._fed)

    def _look_at(self, tensor: torch.Tensor) -> None:
        """Note that something else than a copy looks at ``tensor``, or goes into it."""
        role = self._role(tensor)
        if role is not None and role.part is _Part.SOURCE:
            self.seen.whole.add(role.number)
        elif role is not None and role.part is _Part.DESTINATION:
            self.seen.own.add(role.number)

    def _look_into(self, tensor: torch.Tensor) -> bool:
        """Note that content is looked at; return whether it is void here, and not in a load.

        What nobody has written yet is as in a load. A model may look at it, and then it is its
        own: laid out it would hold something else.
        """
        role = self._role(tensor)
        if role is None or role.part is not _Part.DESTINATION:
            return role is not None
        self.seen.own.add(role.number)
        return role.number in self._written

    def _role(self, tensor: torch.Tensor) -> _Role | None:
        return self._roles.get(identity(tensor)) if has_storage(tensor) else None

    def _is_part(self, tensor: torch.Tensor, part: _Part) -> bool:
        role = self._role(tensor)
        return role is not None and role.part is part

    def _take_part(self, tensor: torch.Tensor, part: _Part, number: int) -> _Role:
        role = _Role(part, number, WeakStorage(tensor))
        self._roles[identity(tensor)] = role
        return role

    def _refuse(self, reason: str) -> None:
        self.refused = self.refused or reason
        raise UnplannableError(reason)


def look(tensor: torch.Tensor) -> Look:
    """Return how ``tensor`` looks at the bytes of its storage."""
    item = tensor.element_size()
    steps = tuple(step * item for step in tensor.stride())
    return Look(int(tensor.storage_offset()) * item, tuple(tensor.shape), steps, item)


def _tensors(value: object) -> Iterator[torch.Tensor]:
    """Yield the tensors among arguments; ``tree_leaves`` does, and takes most of a trace."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


def _changed(
    func: Any,  # noqa: ANN401
    args: Sequence[Any],
    named: Mapping[str, Any],
) -> Iterator[torch.Tensor]:
    """Yield the arguments that ``func`` writes to."""
    for number, argument in enumerate(func._schema.arguments):  # noqa: SLF001 - as above
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[number] if number < len(args) else named.get(argument.name)
            yield from _tensors(value)


def _is_plain(destination: torch.Tensor, source: torch.Tensor) -> bool:
    """Return whether a copy moves the bytes as they are."""
    lazy = source.is_neg() or source.is_conj() or destination.is_neg() or destination.is_conj()
    return destination.dtype == source.dtype and not lazy


def _is_zero(value: object) -> bool:
    """Return whether a fill with ``value`` leaves bytes that are all zero."""
    if isinstance(value, torch.Tensor):
        value = value.item()
    return value in (0, False) and not (isinstance(value, float) and math.copysign(1, value) < 0)


def _only_moves(tensor: torch.Tensor, named: Mapping[str, Any]) -> bool:
    """Return whether a conversion of a source is one to another device only."""
    same = named.get("dtype") in (None, tensor.dtype)
    return tensor.is_meta and same and named.get("device") is not None
