"""Know whether a model is made of the tensors that it was made of, and give them back to it.

A trace runs the model's own code over tensors without content. None of them may stay in it: a
parameter that was put in the place of another one, or pointed at other memory, is put back.
"""

# ruff: noqa: SLF001 - torch's own state_dict and load_state_dict go by these
from typing import Any, NamedTuple

import torch
from torch import nn

from replica_agent.engines.storages import has_storage, identity, tensors_of


class _Tensor(NamedTuple):
    name: str
    tensor: torch.Tensor
    alias: torch.Tensor  # looks at the memory that it looked at


class State:
    """What a model was made of at one moment: modules, parameters and buffers, and their memory."""

    def __init__(self, model: nn.Module) -> None:
        """Remember that of ``model``."""
        self._members = [
            (name, members, dict(members))
            for name, module in model.named_modules()
            for members in _members(module)
        ]
        self._tensors = [
            _Tensor(name, tensor, tensor.detach())
            for name, tensor in tensors_of(model)
            if has_storage(tensor)
        ]

    def restore(self) -> str | None:
        """Put back what is not as it was; return the name of the first such thing."""
        changed = None
        for path, members, before in self._members:
            name = _differs(members, before)
            if name is not None:
                changed = changed or f"{path}.{name}".removeprefix(".")
                members.clear()
                members.update(before)
        for name, tensor, alias in self._tensors:
            if not _is_same(tensor, alias):
                changed = changed or name
                tensor.data = alias
        return changed


def _members(module: nn.Module) -> tuple[dict[str, Any], ...]:
    return module._parameters, module._buffers, module._modules


def _differs(now: dict[str, Any], before: dict[str, Any]) -> str | None:
    """Return a name that is not there twice, or not for the same object."""
    names = [*before, *(name for name in now if name not in before)]
    absent = object()
    return next((n for n in names if now.get(n, absent) is not before.get(n, absent)), None)


def _is_same(tensor: torch.Tensor, alias: torch.Tensor) -> bool:
    return (
        has_storage(tensor)
        and identity(tensor) == identity(alias)
        and tensor.shape == alias.shape
        and tensor.stride() == alias.stride()
        and tensor.dtype == alias.dtype
    )
