"""Bring one pipeline's bytes into arenas: manifest, arenas, lanes, verdicts, lease.

    coordinator ──> manifest ──> arenas ──> n lanes, 1 verdicts   ──> all confirmed
        ^                                        │
        └── the node has another generation ─────┘   fresh arenas, from the start

The coordinator is a thread, so that a pull can start before anybody waits for it. A failure
reaches whoever waits. ``close`` ends every thread, also one that waits for the network.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Self

from cache_protocol.errors import CacheError, CapacityError, GenerationGoneError
from cache_protocol.manifest import CACHE, Manifest
from replica_agent.client import LISTING_TIMEOUT, ControlClient
from replica_agent.crew import LOOK, Crew
from replica_agent.local.offer import OFF, socket_for
from replica_agent.ports import Arena, OpenArenas
from replica_agent.recovery import PATIENCE, Recovery
from replica_agent.report import Boot, Phase
from replica_agent.transfer import Transfer

LANES = 4  # connections; more than loopback needs, a real link is not filled by one
RENEWAL = 40.0  # seconds; a lease lasts 120, so two renewals may fail
MAX_GENERATIONS = 5  # within one pull; content that moves faster cannot be pulled at all


class Pull:
    """One pull. Start it, do something else, wait for it, close it."""

    def __init__(  # noqa: PLR0913 - all but three have defaults
        self,
        client: ControlClient,
        pipeline: str,
        open_arenas: OpenArenas,
        *,
        lanes: int = LANES,
        patience: float = PATIENCE,
        listing: float = LISTING_TIMEOUT,
        origin: float | None = None,
    ) -> None:
        """Prepare to pull ``pipeline`` into what ``open_arenas`` makes.

        Args:
            client: belongs to the pull from now on, which closes it.
            pipeline: id.
            open_arenas: called once per generation, once its sizes are known.
            lanes: connections side by side.
            patience: seconds without progress before the pull gives up.
            listing: seconds that the node has for the manifest.
            origin: ``time.monotonic()`` that phases count from; now without.
        """
        self.phases: list[Phase] = []
        self.waited = 0.0  # seconds that ``wait`` took in all
        self._client = client
        self._pipeline = pipeline
        self._open_arenas = open_arenas
        self._lanes = lanes
        self._patience = patience
        self._listing = listing
        self._origin = time.monotonic() if origin is None else origin
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._transfer: Transfer | None = None
        self._arenas: Mapping[str, Arena] = {}
        # Of transfers that were replaced: what is to be told of them, and that the next one knows.
        self._remarks: list[str] = []
        self._local_bytes = 0
        self._disk_hangs = False
        self._failure: BaseException | None = None
        self._over = False
        self._coordinator = self._thread()

    def start(self) -> Self:
        """Start pulling in the background."""
        self._coordinator.start()
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until every file is confirmed; False when ``timeout`` seconds pass first.

        Raises:
            CacheError: what ended the pull before that.
        """
        began = time.monotonic()
        with self._changed:
            over = self._changed.wait_for(lambda: self._over, timeout)
        self.waited += time.monotonic() - began
        if self._failure is not None:
            raise self._failure
        return over

    def transfer(self, after: Transfer | None = None) -> Transfer:
        """Wait for the manifest; return the transfer that is under way, or the finished one.

        Args:
            after: a transfer that was replaced; wait for the one that comes after it.

        Raises:
            CacheError: what ended the pull before that.
        """
        with self._changed:
            while self._transfer is None or self._transfer is after:
                if self._failure is not None:
                    raise self._failure
                self._changed.wait()
            return self._transfer

    def again(self, reason: str, of: Transfer) -> bool:
        """Bring everything once more, from the manifest on, into arenas that are opened anew.

        Also when the pull is over. Those who wait for ``of`` learn that another follows it. Return
        whether one does because of this call: not when that was so already, or the pull has failed
        or was closed.
        """
        with self._changed:
            if of is not self._transfer or of.replaced or self._stopped.is_set():
                return False
            if self._failure is not None:
                return False
            if self._over:
                self._begin_anew()
            of.withdraw(reason)
            return self._has_successor(of)

    @property
    def current(self) -> Transfer | None:
        """The transfer, for whoever shows progress; None before the manifest is there."""
        return self._transfer

    def boot(self, device: str, started: datetime) -> Boot:
        """Return the report of a pull that is over, well or not."""
        transfer, failure = self._transfer, self._failure
        manifest = transfer.manifest if transfer else None
        reason = manifest.reason if manifest else None
        return Boot(
            pipeline=self._pipeline,
            device=device,
            started=started,
            phases=tuple(self.phases),
            bytes=manifest.size if manifest else 0,
            verified_bytes=transfer.verified_bytes if transfer else 0,
            weight_wait=self.waited,
            time_to_ready=max((p.start + p.seconds for p in self.phases), default=0.0),
            reason=reason if failure is None else str(failure) or repr(failure),
            source=manifest.source if manifest else CACHE,
            recovered=failure is None and reason is not None,
            local_bytes=self._local_bytes + (transfer.local_bytes if transfer else 0),
            notes=tuple(dict.fromkeys([*self._remarks, *(transfer.remarks if transfer else [])])),
            request_id=self._client.request_id,
        )

    def close(self) -> None:
        """End the pull and all its threads; arenas keep what somebody still looks at."""
        self._stopped.set()
        self._client.close()
        with self._changed:
            if self._transfer is not None:
                self._transfer.fail(_closed_early())
            self._changed.notify_all()
        if self._coordinator.ident is not None:
            self._coordinator.join()
        _close(self._arenas)
        if not self._over:  # never started
            self._failure, self._over = CacheError("the pull was closed before its start"), True

    def _has_successor(self, of: Transfer) -> bool:
        return of.replaced and self._failure is None

    def _begin_anew(self) -> None:
        """Start a thread once more, under the lock; what prevents that is the pull's failure."""
        thread = self._thread()
        try:
            thread.start()  # it finds nothing to note before we let go of the lock
        except RuntimeError as error:
            self._failure = CapacityError(f"nothing can be brought again: {error}")
            self._changed.notify_all()
        else:
            self._coordinator, self._over = thread, False

    def _thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name="pull", daemon=True)

    def _run(self) -> None:
        while not self._ended(self._bring()):
            pass

    def _bring(self) -> BaseException | None:
        """Bring everything; return what prevents it."""
        try:
            with self._phase("manifest"):
                manifest = self._client.manifest(self._pipeline, self._listing)
            with self._phase("pull"):
                self._pull(manifest)
        except Exception as error:  # noqa: BLE001 - it is kept and raised by ``wait``
            return error
        return None

    def _ended(self, failure: BaseException | None) -> bool:
        """Note the end; False when ``again`` came after the last look at the transfer."""
        with self._changed:
            if failure is None and self._transfer is not None and self._transfer.replaced:
                if not self._stopped.is_set():
                    return False
                failure = _closed_early()
            self._failure, self._over = failure, True
            self._changed.notify_all()
            return True

    def _pull(self, manifest: Manifest) -> None:
        successor: Manifest | None = manifest
        for _ in range(MAX_GENERATIONS):
            if successor is None:
                return
            successor = self._pull_generation(successor)
        if successor is not None:
            raise GenerationGoneError(
                f"{self._pipeline} changed {MAX_GENERATIONS} times while it was being pulled"
            )

    def _pull_generation(self, manifest: Manifest) -> Manifest | None:
        """Pull one generation; return the manifest of the next when the node moved on.

        The next is the same one again where an arena was lost: others are opened for it.
        """
        _close(self._arenas)  # of a generation before: no byte of it is wanted any more
        self._arenas = self._open_arenas(manifest)
        transfer = Transfer(manifest, self._arenas, self._changed, self._client.request_id)
        with self._changed:
            if (before := self._transfer) is not None:
                self._remarks += before.remarks
                self._local_bytes += before.local_bytes
            self._transfer = transfer
            if self._stopped.is_set():  # meanwhile: ``close`` did not know of this transfer
                transfer.fail(_closed_early())
            self._changed.notify_all()
        self._work(transfer)
        with self._changed:  # or ``again`` could come between two looks
            if transfer.lost is None:
                if transfer.successor is None:
                    transfer.check()
                return transfer.successor
        return self._manifest_again()

    def _work(self, transfer: Transfer) -> None:
        """Run lanes until the transfer is over; hold the lease meanwhile."""
        recovery = Recovery(transfer, self._manifest_again, self._stopped, self._patience)
        wish = OFF if self._disk_hangs else self._client.local
        local = socket_for(transfer.manifest, wish)
        crew = Crew(transfer, recovery, self._client.trust, lanes=self._lanes, local=local)
        crew.start()
        try:
            self._hold(transfer, crew)
        finally:
            transfer.fail(_closed_early())
            crew.end()
            self._disk_hangs |= crew.disk_hangs
            self._let_go(transfer)

    def _manifest_again(self) -> Manifest:
        """Return a fresh manifest. A node that is silent must not hold up whoever gives up."""
        return self._client.manifest(self._pipeline, min(self._listing, self._patience))

    def _hold(self, transfer: Transfer, crew: Crew) -> None:
        """Wait for the end; look after the crew and renew the lease on the way."""
        due = time.monotonic() + RENEWAL
        while not self._wait_for_end(transfer):
            crew.look()
            if time.monotonic() < due:
                continue
            due = time.monotonic() + RENEWAL
            try:
                self._renew(transfer)
            except CacheError:
                continue  # a lane meets the same trouble, and its patience decides

    def _renew(self, transfer: Transfer) -> None:
        """Renew the lease, and through it the tickets when half their life is over."""
        lease = transfer.manifest.lease.id
        if transfer.tickets_age < transfer.manifest.ticket_life / 2:
            if self._client.renew(lease):
                return
        elif (manifest := self._client.renew_tickets(lease)) is not None:
            transfer.refresh(manifest)
            return
        transfer.refresh(self._manifest_again())  # the node forgot it: this brings a new one

    def _wait_for_end(self, transfer: Transfer) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: transfer.over, min(LOOK, RENEWAL))

    def _let_go(self, transfer: Transfer) -> None:
        """Give the leases back; one that stays behind ends by itself."""
        for lease in transfer.leases:
            with suppress(CacheError):
                self._client.give_back(lease)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases.append(Phase(name, began - self._origin, time.monotonic() - began))


def _closed_early() -> CacheError:
    return CacheError("the pull was closed before its end")


def _close(arenas: Mapping[str, Arena]) -> None:
    for arena in arenas.values():
        arena.close()
