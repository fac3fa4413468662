"""What is registered: pipelines come, change their models, and are pinned.

The database is written first, so that a crash leaves a registration without files, never files
without a registration. What is written there is known at once: nothing that can fail stands
between.
"""

import logging
import threading  # noqa: TC003 - as everywhere else in the service
from collections.abc import Callable
from dataclasses import replace

from cache_protocol.errors import CacheError
from cache_server.catalogue.registry import Key, Registration, Registry
from cache_server.core.content import Content, ModelContent, ModelSpec
from cache_server.core.shares import check_share
from cache_server.core.tenants import QuotasOf
from cache_server.service.clocks import Clocks
from cache_server.service.departures import Departures
from cache_server.service.disk_watch import DiskWatch
from cache_server.service.filling import Filling
from cache_server.service.inventory import Inventory
from cache_server.service.lookups import Lookups
from cache_server.service.registrations import check_registration
from cache_server.service.slot import LastError, Slot, end_work

log = logging.getLogger(__name__)


class Pipelines:
    """All that is registered. Safe for threads."""

    def __init__(  # noqa: PLR0913 - all by name
        self,
        *,
        lock: "threading.RLock",
        registry: Registry,
        inventory: Inventory,
        filling: Filling,
        departures: Departures,
        disk: DiskWatch,
        clocks: Clocks,
        quotas: QuotasOf,
        warm: Callable[[list[Key]], None],
    ) -> None:
        """Take the parts.

        Args:
            lock: the service's.
            registry: the database.
            inventory: what is known of each.
            filling: asks origins what a pipeline consists of.
            departures: take the content of models that were changed.
            disk: refuses changes while it is sick.
            clocks: when it was registered.
            quotas: how many pipelines a tenant may have.
            warm: has pipelines filled that no replica waits for.
        """
        self._lock = lock
        self._registry = registry
        self._inventory = inventory
        self._filling = filling
        self._lookups = Lookups(lock, filling.resolve, self._is_there)
        self._departures = departures
        self._disk = disk
        self._clocks = clocks
        self._quotas = quotas
        self._warm = warm

    def put(  # noqa: PLR0913 - all but the first two by name
        self,
        key: Key,
        models: tuple[ModelSpec, ...],
        *,
        pinned: bool | None,
        warm: bool = False,
        vouched: bool = False,
        found: tuple[ModelContent, ...] | None = None,
    ) -> bool:
        """Register a pipeline or change it; return whether it is new.

        ``vouched``: an admin does, so that its sources need not be listed for the tenant. That
        counts until somebody else changes a model.

        The origins are asked at once, in the background, which fixes moving revisions; of what is
        new they are not, where the caller has just ``found`` out what they have. Where that fails,
        the first request asks again. Content that was resolved from other models is given up.
        ``warm`` has it filled at once, too.

        Raises:
            MalformedError: an id, name or source that cannot be one.
            QuotaError: it is new, and its tenant has as many as it may.
        """
        check_registration(key, models)
        new = self._register(Registration(key, models, vouched=vouched), pinned, found)
        if warm:
            self._warm([key])
        return new

    def stands(self, key: Key, models: tuple[ModelSpec, ...]) -> bool:
        """Whether ``key`` is registered with these ``models``, and an admin vouched for them."""
        with self._lock:
            slot = self._inventory.slots.get(key)
            was = None if slot is None or slot.leaving else slot.registration
        return was is not None and was.vouched and was.models == models

    def pin(self, key: Key, *, pinned: bool) -> None:
        """Have the policy never evict a pipeline, or decide again.

        Raises:
            UnknownPipelineError: there is none.
        """
        with self._lock:
            slot = self._inventory.find(key)
            registration = replace(slot.registration, pinned=pinned)
            if registration != slot.registration:
                self._disk.check()
                self._registry.put(registration, self._clocks.now())
                slot.registration = registration

    def close(self) -> None:
        """Ask no further origin what a pipeline consists of."""
        self._lookups.close()

    def _is_there(self, slot: Slot) -> bool:
        return self._inventory.slots.get(slot.registration.key) is slot

    def _register(
        self,
        wanted: Registration,
        pinned: bool | None,  # noqa: FBT001
        found: tuple[ModelContent, ...] | None,
    ) -> bool:
        with self._lock:
            old = self._inventory.slots.get(wanted.key)
            if old is None:
                self._create(replace(wanted, pinned=pinned or False), found)
                return True
            ending = _ending(old)
            replaced = ending is None and self._change(
                old, _continued(old.registration, wanted, pinned)
            )
        if ending is not None:
            ending.over.wait()
            return self._register(wanted, pinned, found)
        if replaced:
            self._retire(old)
        return False

    def _create(self, registration: Registration, found: tuple[ModelContent, ...] | None) -> None:
        key = registration.key
        self._check_count(key.tenant)
        self._disk.check()
        self._registry.put(registration, self._clocks.now())
        slot = self._inventory.slots[key] = Slot(registration, loaded=True)
        if found is None:
            self._lookups.ask(slot)
        else:
            self._take(slot, Content(key.tenant, key.id, found, registration.spec))

    def _take(self, slot: Slot, content: Content) -> None:
        """Keep what was found for the first request, which asks again where the disk refuses."""
        try:
            self._filling.take(slot, content)
        except CacheError as error:
            slot.last_error = LastError(error, self._clocks.now())
            log.warning("what it consists of is not kept: %s", error, extra=slot.named)

    def _check_count(self, tenant: str) -> None:
        if (limit := self._quotas(tenant).pipelines) is not None:
            used = sum(key.tenant == tenant for key in self._inventory.slots)
            check_share("pipelines", tenant, used, limit)

    def _change(self, old: Slot, registration: Registration) -> bool:
        """Take a changed registration; return whether the slot had to be replaced by a new one."""
        was = old.registration
        self._inventory.load(old)
        if registration != was:
            self._disk.check()
            self._registry.put(registration, self._clocks.now())
        if registration.spec == was.spec:
            old.registration = registration
            return False
        slot = Slot(registration, loaded=True, asked=old.asked, replaces=old)
        self._inventory.slots[registration.key] = slot
        self._lookups.ask(slot)
        return True

    def _retire(self, slot: Slot) -> None:
        """End what runs for a slot that was replaced; its readers may finish."""
        end_work(slot, self._lock)
        with self._lock:
            self._departures.empty(slot)
            slot.over.set()


def _continued(was: Registration, wanted: Registration, pinned: bool | None) -> Registration:  # noqa: FBT001
    """Return ``wanted`` with what it leaves as it was."""
    return replace(
        wanted,
        pinned=was.pinned if pinned is None else pinned,
        vouched=wanted.vouched or (was.vouched and was.models == wanted.models),
    )


def _ending(slot: Slot) -> Slot | None:
    """Return the slot whose end a change of ``slot`` must wait for, if there is one.

    That of a pipeline that is being removed, or of one that was changed a moment ago: its
    content may be what comes back, and must not be taken up while it is on its way out.
    """
    if slot.leaving:
        return slot
    if slot.replaces is not None and slot.replaces.over.is_set():
        slot.replaces = None
    return slot.replaces
