"""What of a pipeline a question is about: a repository at a commit, and the generation that has it.

How a generation looks from the hub is made once and kept; of one with very many files in a thread,
since the event loop has other questions to answer.
"""

import asyncio

from cache_protocol.names import shown
from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec
from cache_server.doors.hub.address import Question
from cache_server.doors.hub.refusals import RepositoryNotFoundError, RevisionNotFoundError
from cache_server.doors.hub.repositories import Repository, at, is_commit, repositories
from cache_server.doors.shelf import Shelf
from cache_server.service.library import Readable

KEPT = 256  # generations
KEPT_FILES = 300_000  # of all of them; 300 bytes each
MANY = 2000  # files; listing so many takes the event loop some 5 ms


class Views:
    """How generations look, for one event loop."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._views: dict[tuple[str, object], list[Repository]] = {}

    async def of_id(self, key: Key, generation: Readable, repository: str) -> list[Repository]:
        """Return what ``generation`` has of a repository: one, or several commits of it.

        Raises:
            RepositoryNotFoundError: nothing.
        """
        found = [r for r in await self._of(key, generation) if r.id == repository]
        if not found:
            raise RepositoryNotFoundError(
                f"pipeline {shown(key.id)} has no repository {shown(repository)}"
            )
        return found

    async def find(
        self, name: str, key: Key, generation: Readable, question: Question
    ) -> tuple[Readable, Repository]:
        """Return what ``question`` of the token ``name`` names, and what to read it from.

        That is ``generation``, the slot's own, or one before it that is still read: a client in the
        middle of a snapshot goes on with the commit that it began with.

        Raises:
            RepositoryNotFoundError: there is no such repository.
            RevisionNotFoundError: it has no such revision here.
        """
        found = at(await self.of_id(key, generation, question.repository), question.revision)
        if found is not None:
            return generation, found
        if is_commit(question.revision):
            for earlier in self._shelf.earlier(key):
                for each in await self._of(key, earlier):
                    if (each.id, each.commit) == (question.repository, question.revision):
                        self._shelf.keep(name, key, earlier)
                        return earlier, each
        raise RevisionNotFoundError(
            f"pipeline {shown(key.id)} has {shown(question.repository)} at another revision than "
            f"{shown(question.revision)}"
        )

    async def _of(self, key: Key, generation: Readable) -> list[Repository]:
        specs = self._shelf.service.contents.specs(key)
        name = generation.id, specs
        if (view := self._views.pop(name, None)) is None:
            view = await self._made(generation, specs)
            while self._views and self._too_many(view):
                del self._views[next(iter(self._views))]
        self._views[name] = view  # the latest last
        return view

    async def _made(self, generation: Readable, specs: tuple[ModelSpec, ...]) -> list[Repository]:
        if len(generation.files) > MANY:
            return await asyncio.to_thread(repositories, generation.content, specs)
        return repositories(generation.content, specs)

    def _too_many(self, more: list[Repository]) -> bool:
        """Whether what is kept is too much with ``more`` beside it."""
        files = sum(len(each.files) for view in (*self._views.values(), more) for each in view)
        return len(self._views) >= KEPT or files > KEPT_FILES
