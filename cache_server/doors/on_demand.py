"""Pipelines that come by themselves, where a tenant's file permits it: ``/hf/-/`` at first use.

    asked for ── known ─────────────────────────────────> its key, at once
        └── tenant may? listed? ── hub: is it there? ── put ──> its key

Nothing is written down before the hub has said that there is such a repository, and that it holds
what this tenant may have: else any reader could fill the catalogue with names. A tenant has
``MOST`` of them, or as many pipelines as its quota says; beyond that the one that was asked for
the longest ago goes, unless it is hot, pinned or read.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import NamedTuple

from cache_protocol.errors import (
    BusyError,
    CacheError,
    ForbiddenError,
    MalformedError,
    QuotaError,
    SlotInUseError,
    UnknownPipelineError,
)
from cache_protocol.names import shown
from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelContent, ModelSpec, select
from cache_server.core.on_demand import asked_for, pipeline_of, wanted
from cache_server.core.shares import check_share
from cache_server.core.sources import parse_source
from cache_server.core.tenants import Terms
from cache_server.core.vain import FINAL, VainQuestions
from cache_server.http.pipelines import CheckModels
from cache_server.ports import OpenOrigin
from cache_server.service.glance import Glance
from cache_server.service.service import Service

log = logging.getLogger(__name__)

MOST = 1000  # of one tenant
AT_ONCE = 4  # questions to hubs; a first use is rare, and each holds a thread
WAITING = 64  # first uses that wait for an answer
OF_ONE = 16  # of these, of one tenant: who asks for names that are none leaves places to others
LEARNT = 10_000  # commits whose pipeline is remembered
_COMMIT_LENGTH = 40


class Wish(NamedTuple):
    """What somebody asked for that nobody put."""

    tenant: str
    repository: str
    revision: str

    @property
    def key(self) -> Key:
        """The key of its own pipeline."""
        return Key(self.tenant, pipeline_of(self.repository, self.revision))

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """What its own pipeline consists of."""
        return (wanted(self.repository, self.revision),)


class OnDemand:
    """Finds pipelines for repositories, and registers what is missing. Safe for threads."""

    def __init__(
        self,
        service: Service,
        may: Callable[[str], bool],
        check: CheckModels,
        open_origin: OpenOrigin,
        *,
        most: int = MOST,
    ) -> None:
        """Register with ``service``.

        Args:
            service: has the pipelines.
            may: whether a tenant may, as its file says now.
            check: judges sources; ForbiddenError.
            open_origin: whom to ask whether there is such a repository.
            most: of one tenant.
        """
        self._service = service
        self._may = may
        self._check = check
        self._open_origin = open_origin
        self._most = most
        self._vain = VainQuestions()
        self._lock = threading.Lock()
        self._asked: dict[Wish, Future[Key]] = {}  # that are not answered yet
        self._learnt: dict[Wish, Key] = {}  # commits that are other revisions' pipelines
        self._known: dict[str, dict[Key, str]] = {}  # repositories, by tenant and key
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="on-demand")

    def known(self, wish: Wish) -> Key | None:
        """Return the pipeline that answers ``wish``; None: ``ask``. For an event loop: no lock."""
        if self._service.contents.specs(wish.key) == wish.models:
            return wish.key
        key = self._learnt.get(wish)
        return key if key is not None and self._has(key, wish.revision) else None

    def ask(self, wish: Wish) -> "Future[Key]":
        """Have a pipeline registered for ``wish``; all who ask meanwhile share the answer.

        A commit is answered by whatever pipeline of the repository was resolved to it, so that a
        client that has learnt what a branch is goes on in the branch's slot.

        Raises:
            ForbiddenError: it is not for the tenant.
            MalformedError: the repository or the revision has no name that could be one.
            OriginError: the hub has said no within the last minute, or has nothing that is served;
                MalformedError, where what it has is out of bounds.
            BusyError: too many others wait for such an answer, or it said no too often. What hub
                and catalogue say against it now is raised by the future.
        """
        if not self._may(wish.tenant):
            raise ForbiddenError(
                f"tenant {wish.tenant} may not have repositories pulled that nobody put: put a "
                "pipeline and use its path, or have 'on_demand: true' set in CACHE_SERVER_TENANTS"
            )
        parse_source(f"hf://{wish.repository}@{wish.revision}")
        self._check(wish.models, _terms(wish))
        if (key := self._at_commit(wish)) is not None:
            found: Future[Key] = Future()
            found.set_result(key)
            return found
        with self._lock:
            if (asked := self._asked.get(wish)) is None:
                self._vain.check(wish, time.monotonic())
                self._check_crowd(wish.tenant)
                asked = self._asked[wish] = Future()
                asked.set_running_or_notify_cancel()
                self._threads.submit(copy_context().run, self._answer, wish, asked)
        return asked

    def close(self) -> None:
        """Look nothing up any more; what is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _check_crowd(self, tenant: str) -> None:
        ours = sum(wish.tenant == tenant for wish in self._asked)
        if ours >= OF_ONE or len(self._asked) >= WAITING:
            raise BusyError(
                f"{len(self._asked)} repositories are being looked up, {ours} of them for tenant "
                f"{tenant}; at most {WAITING} and {OF_ONE} are: come back"
            )

    def _answer(self, wish: Wish, asked: "Future[Key]") -> None:
        try:
            self._put(wish, self._look(wish))
        except CacheError as error:
            failure: CacheError | None = error
        except Exception as error:  # a bug must not leave who asked hanging
            log.exception("looking up %s failed", shown(wish.repository))
            failure = CacheError(f"{shown(wish.repository)} could not be looked up: {error!r}")
        else:
            failure = None
        with self._lock:
            del self._asked[wish]
        if failure is None:
            asked.set_result(wish.key)
        else:
            asked.set_exception(failure)

    def _look(self, wish: Wish) -> ModelContent:
        """Ask the hub whether there is such a repository, with anything that may be served.

        Return that: a tree of many files takes its time, and is not asked for twice.
        """
        spec = wish.models[0]
        origin = self._open_origin(spec, _terms(wish))
        try:
            return select(spec, origin.resolve())
        except FINAL as error:
            with self._lock:
                self._vain.note(wish, error, time.monotonic())
            raise
        finally:
            origin.close()

    def _put(self, wish: Wish, found: ModelContent) -> None:
        self._service.check_admission()
        if (stands := self._service.contents.specs(wish.key)) and stands != wish.models:
            raise MalformedError(f"the id {wish.key.id} is taken by another pipeline")
        try:
            check_share("repositories on demand", wish.tenant, len(self._keys(wish)), self._most)
            self._service.pipelines.put(wish.key, wish.models, pinned=None, found=(found,))
        except QuotaError:
            if not self._make_room(wish.tenant):
                raise
            self._service.pipelines.put(wish.key, wish.models, pinned=None, found=(found,))
        with self._lock:
            # Another dictionary each time: who looks through one holds no lock.
            self._known[wish.tenant] = {**self._known[wish.tenant], wish.key: wish.repository}

    def _make_room(self, tenant: str) -> bool:
        """Forget the pipeline that came by itself and was asked for the longest ago; as it may."""
        for each in sorted(self._service.figures.glances(tenant), key=_last_asked):
            may_go = not (each.hot or each.pinned or each.readers)
            if may_go and asked_for(each.key.id, each.models) is not None:
                try:
                    self._service.removal.remove(each.key, force=False)
                except (SlotInUseError, UnknownPipelineError):
                    continue  # somebody was faster
                return True
        return False

    def _at_commit(self, wish: Wish) -> Key | None:
        """Return the pipeline whose content is the commit that ``wish`` names, if there is one."""
        if len(wish.revision) != _COMMIT_LENGTH:
            return None
        for key, repository in self._keys(wish).items():
            if repository == wish.repository and self._has(key, wish.revision):
                if len(self._learnt) >= LEARNT:
                    self._learnt.clear()
                self._learnt[wish] = key
                return key
        return None

    def _has(self, key: Key, commit: str) -> bool:
        found = self._service.contents.at_hand(key)
        return found is not None and found.content.models[0].revision == commit

    def _keys(self, wish: Wish) -> dict[Key, str]:
        """Return what came by itself for the tenant of ``wish`` and is still there."""
        with self._lock:
            known = self._known.get(wish.tenant)
        if known is None:  # since the start of the node: what came before it counts as well
            came = _came(self._service.figures.glances(wish.tenant))
            with self._lock:
                known = self._known[wish.tenant] = came | self._known.get(wish.tenant, {})
        gone = {key for key in known if not self._service.contents.specs(key)}
        with self._lock:  # and nothing is lost that came meanwhile
            still = {k: name for k, name in self._known[wish.tenant].items() if k not in gone}
            self._known[wish.tenant] = still
        return still


def _came(glances: list[Glance]) -> dict[Key, str]:
    named = {each.key: asked_for(each.key.id, each.models) for each in glances}
    return {key: name for key, name in named.items() if name is not None}


def _terms(wish: Wish) -> Terms:
    return Terms(wish.tenant, vouched=False)


def _last_asked(glance: Glance) -> float:
    return glance.asked.timestamp() if glance.asked is not None else 0.0
