"""Who is lent which file: whoever could read it over the data plane, and holds a lease on it.

The ticket is that of the file's URL. The lease is asked for as well, because a descriptor outlives
the question: what is lent to its holder stays on disk as long as the lease does, and ends with it.
"""

from collections.abc import Callable
from typing import NamedTuple

from cache_protocol import tickets
from cache_protocol.errors import GenerationGoneError, MalformedError
from cache_protocol.local import Question
from cache_protocol.routes import FILES, Resource, parse_resource
from cache_protocol.tickets import Keys
from cache_server.ports import ReadableFile, Shelf

GenerationHeld = Callable[[str], str | None]  # by a lease; None: it has ended, or is withheld


class Right(NamedTuple):
    """What a question turned out to be allowed."""

    tenant: str
    generation: str
    file: ReadableFile


class Rights:
    """Judges questions. Safe for threads; never waits."""

    def __init__(
        self,
        shelf: Shelf,
        keys: Callable[[], Keys],
        held: GenerationHeld,
        clock: Callable[[], float],
    ) -> None:
        """Judge by the tickets of ``keys`` at ``clock`` (unix seconds), and by what is ``held``."""
        self._shelf = shelf
        self._keys = keys
        self._held = held
        self._clock = clock

    def of(self, question: Question) -> Right:
        """Return the file that ``question`` is about.

        Raises:
            TicketError: no right to read it, or none any more.
            GenerationGoneError: it has been given up, or the lease is not on it.
            MalformedError: it names no file.
        """
        # The ticket comes first, so that nobody without one learns which names exist.
        path, _, query = question.target.partition("?")
        ticket = tickets.check(self._keys(), path, query, self._clock())
        resource = parse_resource(path)
        if resource.kind != FILES:
            raise MalformedError(f"only files are lent, not {resource.kind}")
        if not self.holds(question.lease, resource.generation):
            raise GenerationGoneError("the lease does not hold this generation, or has ended")
        return Right(ticket.tenant, resource.generation, self._find(resource))

    def holds(self, lease: str, generation: str) -> bool:
        """Whether ``lease`` is on ``generation``, and that may be read."""
        return self._held(lease) == generation

    def _find(self, resource: Resource) -> ReadableFile:
        try:
            return self._shelf.find(resource.generation, resource.model, resource.path)
        except FileNotFoundError as error:
            raise MalformedError("the generation has no such model or file") from error
