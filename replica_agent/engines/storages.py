"""Tell the storages of tensors apart, and know what of a model is on them and who holds one.

The few names of torch that are not public, and that torch's own modes and reductions use, are
here and nowhere else.
"""

# ruff: noqa: SLF001
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef


def has_storage(tensor: torch.Tensor) -> bool:
    """Return whether ``tensor`` looks at bytes: wrappers and sparse ones do not."""
    return bool(torch._C._has_storage(tensor))


def identity(tensor: torch.Tensor) -> int:
    """Return what tensors have in common that share a storage, also one without bytes."""
    return int(tensor.untyped_storage()._cdata)


def tensors_of(model: nn.Module, *, every_name: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield parameters, then buffers, by the first name of each, or by ``every_name``."""
    yield from model.named_parameters(remove_duplicate=not every_name)
    yield from model.named_buffers(remove_duplicate=not every_name)


def reach(tensor: torch.Tensor) -> int:
    """Return how many bytes of its storage a tensor needs there to be."""
    if not tensor.numel():
        return 0
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    return (int(tensor.storage_offset()) + last + 1) * tensor.element_size()


class WeakStorage:
    """A storage that others hold. Its identity is nobody else's as long as this lives."""

    def __init__(self, tensor: torch.Tensor) -> None:
        """Refer to the storage of ``tensor``."""
        self._reference = cast("Any", StorageWeakRef)(tensor.untyped_storage())

    @property
    def gone(self) -> bool:
        """Whether nobody holds it any more."""
        return bool(self._reference.expired())

    def get(self) -> torch.UntypedStorage | None:
        """Return the storage, None when it has gone."""
        if self.gone:
            return None
        return cast("Any", torch.UntypedStorage)._new_with_weak_ptr(self._reference.cdata)  # type: ignore[no-any-return]
