"""Work on what an iterator gives before somebody asks for it. Who asks never waits for that work.

    items ──reader──> [ oldest · · · · · newest ] ──> whoever asks takes the oldest, as it is
                         a window   └──workers improve what is there, the newest first

Where items come slowly every one is improved by the time it is asked for; where they are all there
at once, the two sides meet in the middle. Knows nothing of what the items are.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _Slot(Generic[Item]):
    def __init__(self, item: Item) -> None:
        self.item = item
        self.begun = False  # or taken: there is nothing left to begin with


class Ahead(Generic[Item]):
    """The items of one iterator, in its order. For one thread that asks."""

    def __init__(
        self, items: Iterator[Item], improve: Callable[[Item], Item], *, window: int, workers: int
    ) -> None:
        """Read ``items`` on a thread of its own, at most ``window`` of them before they are taken.

        ``improve``, which ``workers`` threads call, returns what takes the place of an item.
        """
        self._items = items
        self._improve = improve
        self._most = window
        self._changed = threading.Condition()
        self._window: deque[_Slot[Item]] = deque()
        self._ended = False  # no item comes any more
        self._failure: BaseException | None = None
        names = ["read ahead", *["work ahead"] * workers]
        acts = [self._read, *[self._work] * workers]
        self._threads = [
            threading.Thread(target=act, name=name, daemon=True)
            for act, name in zip(acts, names, strict=True)
        ]

    @contextmanager
    def running(self) -> Iterator[Iterator[Item]]:
        """Yield the items; at the end nobody reads or works any more.

        That waits for the item that is being read: two who read one iterator spoil it.
        """
        try:
            for thread in self._threads:
                thread.start()
            yield self._taken()
        finally:
            with self._changed:
                self._ended = True
                self._window.clear()
                self._changed.notify_all()
            for thread in self._threads:
                if thread.ident is not None:  # or it could not start
                    thread.join()

    def _taken(self) -> Iterator[Item]:
        while (slot := self._take()) is not None:
            yield slot.item
        if self._failure is not None:
            raise self._failure

    def _take(self) -> _Slot[Item] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._window or self._ended)
            if not self._window:
                return None
            slot = self._window.popleft()
            slot.begun = True
            self._changed.notify_all()
            return slot

    def _read(self) -> None:
        try:
            for item in self._items:
                if not self._put(_Slot(item)):
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised where items are asked for
            self._failure = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _put(self, slot: _Slot[Item]) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: len(self._window) < self._most or self._ended)
            if not self._ended:
                self._window.append(slot)
                self._changed.notify_all()
            return not self._ended

    def _work(self) -> None:
        while (slot := self._newest()) is not None:
            slot.item = self._improve(slot.item)

    def _newest(self) -> _Slot[Item] | None:
        """Return what to work on, which is nobody else's from then on; None at the end."""
        with self._changed:
            while True:
                for slot in reversed(self._window):
                    if not slot.begun:
                        slot.begun = True
                        return slot
                if self._ended:
                    return None
                self._changed.wait()
