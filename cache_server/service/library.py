"""Generations by id: what the data plane can serve. See ``ports.Shelf``."""

from cache_protocol.errors import GenerationGoneError
from cache_server.store.generation import Generation
from cache_server.store.stored_file import StoredFile


class Library:
    """A dictionary: look-ups need no lock, because one dictionary access is atomic."""

    def __init__(self) -> None:
        self._generations: dict[str, Generation] = {}

    def add(self, generation: Generation) -> None:
        """Make ``generation`` readable."""
        self._generations[generation.id] = generation

    def discard(self, generation: Generation) -> None:
        """Make ``generation`` unknown to new requests; one that is not there is fine."""
        self._generations.pop(generation.id, None)

    def all(self) -> list[Generation]:
        """Return every generation."""
        return list(self._generations.values())

    def find(self, generation: str, model: str, path: str) -> StoredFile:
        """Return a file; see ``ports.Shelf``."""
        found = self._generations.get(generation)
        if found is None:
            raise GenerationGoneError("there is no such generation on this node")
        return found.file(model, path)
