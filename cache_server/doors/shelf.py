"""From somebody and a pipeline to files, for every door alike.

A hit asks no origin and takes no lock of the service. The first request of somebody counts as a
question for the pipeline (hit, miss, joined), as a manifest does; those that follow it keep the
slot hot, and are not counted again.
"""

from cache_server.catalogue.registry import Key
from cache_server.doors.holds import Holds, Reader
from cache_server.fill.passing_file import PassingFile
from cache_server.http.opening import readable, wait_readable
from cache_server.service.library import Readable
from cache_server.service.service import Service
from cache_server.store.stored_file import StoredFile

File = StoredFile | PassingFile


class Shelf:
    """All pipelines of a node, as doors read them. Safe for threads."""

    def __init__(self, service: Service, holds: Holds) -> None:
        self.service = service
        self._holds = holds

    async def open(self, name: str, key: Key) -> Readable:
        """Return what is to be read of ``key``, held for the token ``name``; on an event loop.

        Raises:
            CacheError: nothing is: as ``http.opening.readable``; DrainingError for new readers.
        """
        reader = Reader(name, key)
        generation = self._known(reader) or await readable(self.service, key)
        self._holds.take(reader, generation)
        return generation

    def wait(self, name: str, key: Key, patience: float) -> Readable:
        """Return what ``open`` does, in a thread that may wait ``patience`` seconds.

        Raises:
            BusyError: it took longer.
            CacheError: as ``open``.
        """
        reader = Reader(name, key)
        generation = self._known(reader) or wait_readable(self.service, key, patience)
        self._holds.take(reader, generation)
        return generation

    def earlier(self, key: Key) -> list[Readable]:
        """Return what of ``key`` is there besides what the slot has now: somebody reads it on."""
        current = self.service.contents.at_hand(key)
        return [
            each
            for each in self.service.library.all()
            if key == (each.content.tenant, each.content.pipeline) and each is not current
        ]

    def keep(self, name: str, key: Key, generation: Readable) -> None:
        """Hold ``generation`` for the token ``name``; DrainingError as ``open``."""
        self._holds.take(Reader(name, key), generation)
        self.service.library.note_read(generation)

    def _known(self, reader: Reader) -> Readable | None:
        """Return what ``reader`` goes on with; None: it begins, and is counted."""
        generation = self.service.contents.at_hand(reader.key)
        if generation is None or not self._holds.has(reader, generation):
            return None
        self.service.library.note_read(generation)
        return generation
