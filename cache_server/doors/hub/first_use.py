"""Which pipeline a path speaks of: ``/hf/<pipeline>/…`` says it, ``/hf/-/…`` leaves it to the node.

Behind ``-`` every repository that the tenant may have has a pipeline of its own, from the first
question for it on: one ``HF_ENDPOINT`` for a whole team that puts nothing. Whoever may read may ask
so: it is the tenant's file that says yes, lists the origins and sets the quota.
"""

import asyncio

from cache_protocol.errors import (
    BusyError,
    CacheError,
    OriginDeniedError,
    OriginError,
    OriginNotFoundError,
    UnknownPipelineError,
)
from cache_protocol.names import shown
from cache_server.catalogue.registry import Key
from cache_server.doors.hub.address import Question
from cache_server.doors.hub.patience import PATIENCE, Patience
from cache_server.doors.hub.refusals import RepositoryNotFoundError, RevisionNotFoundError
from cache_server.doors.on_demand import OnDemand, Wish
from cache_server.http.access import Caller

ANY = "-"  # no pipeline has this id: they begin with a letter or a digit


class FirstUse:
    """Finds the pipeline of a question."""

    def __init__(self, on_demand: OnDemand | None) -> None:
        """None: nothing comes by itself on this node."""
        self._on_demand = on_demand

    async def key(
        self, caller: Caller, pipeline: str, question: Question, patience: Patience
    ) -> Key:
        """Return the key that ``caller`` asks about, within its ``patience``.

        Raises:
            UnknownPipelineError: it is not there for this caller.
            ForbiddenError: nothing may come by itself for this tenant, or not this repository.
            BusyError: the hub takes long to answer; it is still being asked.
            NotThereError: the hub has no such repository or revision.
            CacheError: the hub refuses, or does not answer; or a quota is reached.
        """
        if pipeline != ANY:
            return caller.key(pipeline)
        if self._on_demand is None:
            raise UnknownPipelineError("there is no pipeline '-'")
        caller.check_one_tenant()
        wish = Wish(caller.tenant, question.repository, question.revision)
        key = self._on_demand.known(wish)
        if key is None:
            caller.name(wish.key.id)  # before anything is begun for it
            key = await self._found(self._on_demand, wish, patience)
        return caller.key(key.id)

    async def _found(self, on_demand: OnDemand, wish: Wish, patience: Patience) -> Key:
        try:
            # In a thread: it may take the service's lock. Shielded: others wait for this answer.
            asked = await asyncio.to_thread(on_demand.ask, wish)
            async with patience.wait(_late(wish.repository)):
                return await asyncio.shield(asyncio.wrap_future(asked))
        except (OriginNotFoundError, OriginDeniedError) as error:
            raise _in_the_hubs_words(error) from error


def _late(repository: str) -> BusyError:
    return BusyError(
        f"the hub has not said within {PATIENCE:.0f} s whether there is {shown(repository)}; it is "
        "still being asked: come back"
    )


def _in_the_hubs_words(error: OriginError) -> CacheError:
    """Return ``error`` as what the hub called it, whose code stands in its text.

    To who is nobody it says 401 of what is not there as well as of what is private to others.
    """
    for kind in (RevisionNotFoundError, RepositoryNotFoundError):
        if kind.hub_code in str(error):
            return kind(str(error))
    return error
