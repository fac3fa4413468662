"""Tell the storages of tensors apart, and know whether anybody still holds one.

The few names of torch that are not public, and that torch's own modes and reductions use, are
here and nowhere else.
"""

# ruff: noqa: SLF001
from typing import Any, cast

import torch
from torch.multiprocessing.reductions import StorageWeakRef


def has_storage(tensor: torch.Tensor) -> bool:
    """Return whether ``tensor`` looks at bytes: wrappers and sparse ones do not."""
    return bool(torch._C._has_storage(tensor))


def identity(tensor: torch.Tensor) -> int:
    """Return what tensors have in common that share a storage, also one without bytes."""
    return int(tensor.untyped_storage()._cdata)


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
