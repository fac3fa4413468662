"""Let a model be built without the memory of its parameters, until something needs it.

    with Deferred(device) as deferred:
        model = build()            # torch.empty gives tensors whose storages have no bytes
        …                          # parameters are pointed at memory that holds them already
        deferred.end()             # what is left gets its bytes

An engine allocates every parameter before it loads any. Where the agent holds them already that
would be the model a second time, on a device more than there is. So large results of ``empty``
give their bytes back at once, and get them again when any operation would look at them: what a
model does to its tensors while it is built has the usual results. Views are allowed: they need
a storage of full size only while they are made, and it gets one for as long.

Knows torch and no engine. What touches a tensor outside of torch's dispatcher (a kernel that was
given its address) is not seen; models do no such thing while they are built.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from replica_agent.engines.storages import WeakStorage, has_storage, identity

LARGE = 4096  # bytes; of smaller tensors a model has few, and they cost nothing
_aten = torch.ops.aten
_EMPTY = {
    _aten.empty,
    _aten.empty_like,
    _aten.empty_strided,
    _aten.empty_permuted,
    _aten.new_empty,
    _aten.new_empty_strided,
}


class Deferred(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, large tensors come without memory. ``end`` it, or leave its block.

    Leaving the block without ``end`` leaves tensors without memory: for a model that failed.
    """

    def __init__(self, device: torch.device) -> None:
        """Defer what is made on devices of the kind of ``device``."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._kind = device.type
        self._waiting: dict[int, tuple[WeakStorage, int]] = {}  # by identity; bytes to come
        self._entered = False

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]
        self._entered = True
        return self

    def __exit__(self, *error: object) -> None:
        if self._entered:  # a block may be left that was ended before
            self._entered = False
            super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - as torch has them
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run one operation, over tensors that have what it looks at."""
        named = kwargs or {}
        if func.overloadpacket in _EMPTY:
            return self._defer(func(*args, **named), pinned=bool(named.get("pin_memory")))
        touched = self._deferred_among((args, named)) if self._waiting else {}
        if func.is_view or _is_meta(named):
            with _lent(touched):
                return func(*args, **named)
        for key, (storage, size) in touched.items():
            storage.resize_(size)
            del self._waiting[key]
        return func(*args, **named)

    def waits(self, tensor: torch.Tensor) -> bool:
        """Return whether ``tensor`` has no memory yet."""
        return identity(tensor) in self._waiting

    def end(self) -> int:
        """Fill what has no memory, and defer no more; return how many bytes that took.

        What was entered after it must have been left.
        """
        filled = self.fill()
        self.__exit__(None, None, None)
        return filled

    def fill(self) -> int:
        """Give all that somebody still holds its memory, uninitialised; return how many bytes."""
        filled = 0
        for reference, size in self._waiting.values():
            storage = reference.get()
            if storage is not None:
                storage.resize_(size)
                filled += size
        self._waiting.clear()
        return filled

    def _defer(self, made: torch.Tensor, *, pinned: bool) -> torch.Tensor:
        """Take the memory of ``made`` away, if it is worth it."""
        if pinned or made.device.type != self._kind or not has_storage(made):
            return made
        storage = made.untyped_storage()
        size = storage.nbytes()
        if size >= LARGE and storage.resizable():
            self._waiting[identity(made)] = WeakStorage(made), size
            storage.resize_(0)
        return made

    def _deferred_among(self, values: object) -> dict[int, tuple[torch.UntypedStorage, int]]:
        """Return the storages without memory that ``values`` look at, each once."""
        found = {}
        for leaf in tree_leaves(values):
            if isinstance(leaf, torch.Tensor) and has_storage(leaf):
                key = identity(leaf)
                if key in self._waiting:
                    found[key] = leaf.untyped_storage(), self._waiting[key][1]
        return found


@contextmanager
def _lent(touched: Mapping[int, tuple[torch.UntypedStorage, int]]) -> Iterator[None]:
    """Give storages their size for as long as a view of them is made."""
    try:
        for storage, size in touched.values():
            storage.resize_(size)
        yield
    finally:
        for storage, _ in touched.values():
            storage.resize_(0)


def _is_meta(kwargs: Mapping[str, Any]) -> bool:
    """Return whether an operation makes a tensor that has a form and no content."""
    device = kwargs.get("device")
    return device is not None and torch.device(device).type == "meta"
