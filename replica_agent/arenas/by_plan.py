"""The models of one pipeline as their engines want them, where that is known, else plain.

What is laid out is of no use to an engine that reads otherwise. Arenas are asked for again then,
and from then on they are plain: a start does not guess twice.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cache_protocol.errors import CacheError, CapacityError
from cache_protocol.manifest import PASS_THROUGH, Manifest, Model
from cache_protocol.plans import Plan
from replica_agent.arenas.host import HostArena, HostMemory, place_files
from replica_agent.arenas.laid_out import LaidOutArena, room_for
from replica_agent.arenas.room import check_room
from replica_agent.report import noted

LETTING_GO = 3.0  # seconds that ranks get to give memory back that was laid out for them
_LOOK = 0.05  # seconds between two looks whether they did


@dataclass(frozen=True)
class Layer:
    """How one kind of memory is laid out."""

    make: Callable[[str, Model, Sequence[Plan]], HostArena]
    room: Callable[[Model, Sequence[Plan]], int]  # bytes of the host's memory
    device: str = "cpu"  # as reports have it
    let_go: Callable[[], None] = lambda: None  # of what was opened to find room there


HOST = Layer(LaidOutArena, room_for)


class Choice(NamedTuple):
    """What is known of one model."""

    plans: Sequence[Plan]  # of all ranks; none: it comes as plain files
    why: str  # for reports
    layer: Layer = HOST


Choose = Callable[[Manifest], Mapping[str, Choice]]
"""Return the choice for each model; those that are not named come as plain files."""


class LaidOutMemory(HostMemory):
    """The arenas of one pipeline, laid out for ranks where ``choose`` knows their plans."""

    def __init__(
        self,
        limit: int | None,
        disk_for: Callable[[int], Path | None],
        choose: Choose,
        held: Callable[[], int] = lambda: 0,
    ) -> None:
        """Take memory as ``HostMemory`` does; ``choose`` is asked once, and raises CacheError."""
        super().__init__(limit, disk_for, held=held)
        self.notes: list[str] = []
        self.device = "cpu"  # where what is laid out is
        self._choose = choose
        self._asked = False
        self._laid = ""  # the generation that was laid out
        self._hastened = threading.Event()

    def hasten(self) -> None:
        """Wait for no memory any more."""
        self._hastened.set()

    def open_arenas(self, manifest: Manifest) -> Mapping[str, HostArena]:
        """Make an arena per model; raises as ``HostMemory`` does.

        Nobody looks at the ones before any more: who was given their memory has it for itself.
        """
        if self._asked:
            self.forget()  # of ours nothing is to be waited for
            if self._laid:
                self._note_again(manifest)
                self._await_room(manifest)
        else:
            self._asked = True
            arenas = self._laid_out(manifest)
            if arenas is not None:
                self._laid = manifest.generation
                return arenas
        self.device = "cpu"
        return super().open_arenas(manifest)

    def _laid_out(self, manifest: Manifest) -> Mapping[str, HostArena] | None:
        """Return arenas of which one is laid out at least; None where none is."""
        choices: Mapping[str, Choice] = {}
        try:
            choices = self._chosen(manifest)
            known = {name: choice for name, choice in choices.items() if choice.plans}
            self.notes += noted((n, c.why) for n, c in choices.items() if not c.plans)
            if not known:
                return None
            need = sum(_room(model, known.get(name)) for name, model in manifest.models.items())
            check_room(need, self._limit)
            arenas = self._open(manifest, lambda name, model: _made(name, model, known.get(name)))
        except (CacheError, OSError) as error:
            for choice in choices.values():
                choice.layer.let_go()
            self.notes.append(f"weights come as plain files: {error}")
            return None
        self.notes += noted((name, choice.why) for name, choice in known.items())
        self.device = next(iter(known.values())).layer.device
        return arenas

    def _note_again(self, manifest: Manifest) -> None:
        """Say once why what was laid out does not stay."""
        moved = f"the node moved on to generation {manifest.generation}"
        same = "what was laid out was refused, or its device was lost"
        why = same if manifest.generation == self._laid else moved
        self.notes.append(f"brought again as plain files: {why}")
        self._laid = ""

    def _await_room(self, manifest: Manifest) -> None:
        """Wait while ranks have memory that plain files need, but not for long.

        Ranks that were given a shard let go of it in the moment in which they learn that it is
        void, and all of them do that together; one that adopted it before keeps it.
        """
        need = sum(_room(model, None) for model in manifest.models.values())
        deadline = time.monotonic() + LETTING_GO
        while (held := self._held()) and time.monotonic() < deadline:
            with suppress(CapacityError):
                check_room(need, self._limit, held=held)
                return
            if self._hastened.wait(_LOOK):
                return

    def _chosen(self, manifest: Manifest) -> Mapping[str, Choice]:
        if manifest.source == PASS_THROUGH:  # whole files are held against the origin's digests
            self.notes.append("weights come as plain files: they pass through the node")
            return {}
        return self._choose(manifest)


def _made(name: str, model: Model, choice: Choice | None) -> HostArena:
    return (
        HostArena(name, model) if choice is None else choice.layer.make(name, model, choice.plans)
    )


def _room(model: Model, choice: Choice | None) -> int:
    if choice is None:
        return place_files([file.size for file in model.files])[-1]
    return choice.layer.room(model, choice.plans)
