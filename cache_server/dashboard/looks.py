"""What open pages see: looked at and rendered once a second for all who see the same.

Rendering takes milliseconds, and dozens may watch one pipeline while it fills.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from cache_server.catalogue.registry import Key
from cache_server.dashboard.list_page import ListPage
from cache_server.dashboard.listing import Query
from cache_server.dashboard.node_page import NodePage
from cache_server.dashboard.parts import Part
from cache_server.dashboard.pipeline_page import PipelinePage
from cache_server.http.access import Caller
from cache_server.http.recent import Recent
from cache_server.service.glance import Glance

Look = Callable[[], Sequence[Part]]


class Looks:
    """Looks at all pages, for their streams. Safe for threads."""

    def __init__(
        self,
        pages: tuple[ListPage, PipelinePage, NodePage],
        glances: Callable[[str], list[Glance]],
    ) -> None:
        """Look at ``pages``; ``glances`` tells how the pipelines of a tenant stand now."""
        lists, pipelines, nodes = pages
        recent = Recent(glances)

        def at_list(asked: tuple[Caller, Query]) -> Sequence[Part]:
            caller, query = asked
            return lists.parts(caller, recent.of(caller.tenant), query)

        def at_pipeline(asked: tuple[Caller, Key]) -> Sequence[Part]:
            return pipelines.parts(*asked)

        def at_node(asked: tuple[Caller, int | None]) -> Sequence[Part]:
            caller, need = asked
            return nodes.parts(caller, recent.of(caller.tenant), need)

        self._lists = Recent(at_list)
        self._pipelines = Recent(at_pipeline)
        self._nodes = Recent(at_node)

    def at_list(self, caller: Caller, query: Query) -> Look:
        """Return a look at the list of ``query``."""
        return lambda: self._lists.of((_anybody_like(caller), query))

    def at_pipeline(self, caller: Caller, key: Key) -> Look:
        """Return a look at ``key``; it raises UnknownPipelineError once that is gone."""
        return lambda: self._pipelines.of((_anybody_like(caller), key))

    def at_node(self, caller: Caller, need: int | None) -> Look:
        """Return a look at the node, and at who would go for ``need`` bytes."""
        return lambda: self._nodes.of((_anybody_like(caller), need))


def _anybody_like(caller: Caller) -> Caller:
    """Return who may do and reach just what ``caller`` may, and is nobody in particular.

    It is this one for whom a page is rendered: nothing of one token can get to another's holder.
    """
    return replace(caller, identity=replace(caller.identity, id=""))
