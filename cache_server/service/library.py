"""Generations by id: what the data plane can serve. See ``ports.Shelf``."""

import threading
from collections.abc import Callable

from cache_protocol.errors import CacheError, GenerationGoneError
from cache_server.core.recency import Moment
from cache_server.fill.passing import PassingGeneration
from cache_server.fill.passing_file import PassingFile
from cache_server.store.generation import Generation
from cache_server.store.stored_file import StoredFile

Readable = Generation | PassingGeneration  # kept on disk, or coming from its origin


class Library:
    """A dictionary: look-ups need no lock, because one dictionary access is atomic."""

    def __init__(self, moment: Callable[[], Moment]) -> None:
        """``moment`` is the time now: a read counts as a request for the hot window."""
        self._moment = moment
        self._generations: dict[str, Readable] = {}
        self._reads: dict[str, tuple[Readable, Moment]] = {}
        self._changing = threading.Lock()
        # Why something is not handed out although it is here; None: it is. Asked at every look-up.
        self.refusal: Callable[[Readable], CacheError | None] = lambda _: None

    def add(self, generation: Readable) -> None:
        """Make ``generation`` readable, in place of another one of the same content."""
        with self._changing:
            self._generations[generation.id] = generation

    def discard(self, generation: Readable) -> None:
        """Make ``generation`` unknown to new requests; one that is not there is fine."""
        with self._changing:
            if self._generations.get(generation.id) is generation:
                del self._generations[generation.id]

    def all(self) -> list[Readable]:
        """Return every generation that is readable."""
        return [each for each in list(self._generations.values()) if self.refusal(each) is None]

    def get(self, generation: str) -> Readable | None:
        """Return a generation by its id; None if it is not readable."""
        found = self._generations.get(generation)
        return None if found is None or self.refusal(found) is not None else found

    def find(self, generation: str, model: str, path: str) -> StoredFile | PassingFile:
        """Return a file; see ``ports.Shelf``."""
        found = self.get(generation)
        if found is None:  # or withheld: whoever asks for the manifest again is told why
            raise GenerationGoneError("there is no such generation on this node")
        file = found.file(model, path)
        self.note_read(found)
        return file

    def note_read(self, generation: Readable) -> None:
        """Count a read of ``generation``. No lock: one dictionary access."""
        self._reads[generation.id] = generation, self._moment()

    def take_reads(self) -> list[tuple[Readable, Moment]]:
        """Return each generation that was read since the last call, with its last read."""
        reads, self._reads = self._reads, {}
        return list(reads.values())
