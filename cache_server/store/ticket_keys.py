"""The keys of this node's tickets: a file under ROOT, read once, replaced whole at each rotation.

Kept, so that URLs outlive a restart. Whoever signs or checks reads one attribute and takes no
lock; a rotation is on disk before the new key signs anything.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cache_protocol.errors import DiskError
from cache_protocol.tickets import KEY_SIZE, Key, Keys
from cache_server.core.key_ring import DatedKey, KeyRing, dump_ring, load_ring
from cache_server.store.durable import disk_errors, write_json

NAME = "ticket-keys.json"


class TicketKeys:
    """The key ring of one node. Safe for threads."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        """Read the ring below ``root``, or make one; ``clock`` is unix seconds.

        Raises:
            DiskError: it cannot be read or written, or is not a ring.
        """
        self._path = root / NAME
        self._clock = clock
        self._changing = threading.Lock()
        if self._path.exists():
            self._use(self._read())
        else:
            first = DatedKey(_fresh(), clock())
            self._keep(KeyRing(secrets.token_hex(8), (first,)))

    def __call__(self) -> Keys:
        """Return the keys of this moment."""
        return self._keys

    def rotate(self, *, revoke: bool = False) -> KeyRing:
        """Sign with a fresh key from now on; return the ring.

        With ``revoke`` every ticket that was given out is refused from now on; replicas ask for
        others by themselves.

        Raises:
            DiskError, CapacityError: it cannot be written; nothing has changed.
        """
        with self._changing:
            self._keep(self._ring.rotated(_fresh(), self._clock(), revoke=revoke))
            return self._ring

    def keep_fresh(self) -> None:
        """Rotate if the key is too old, and forget keys that nobody needs any more.

        Raises:
            DiskError, CapacityError: it cannot be written; the next call tries again.
        """
        with self._changing:
            now = self._clock()
            ring = self._ring.rotated(_fresh(), now) if self._ring.is_due(now) else self._ring
            if (kept := ring.pruned(now)) != self._ring:
                self._keep(kept)

    def _read(self) -> KeyRing:
        with disk_errors(self._path):
            text = self._path.read_bytes()
        try:
            return load_ring(json.loads(text))
        except (ValueError, LookupError, TypeError) as error:
            raise DiskError(
                f"{self._path} is not a ring of keys; delete it, and the node makes another one: "
                "replicas ask for new URLs by themselves"
            ) from error

    def _keep(self, ring: KeyRing) -> None:
        write_json(self._path, dump_ring(ring))
        self._use(ring)

    def _use(self, ring: KeyRing) -> None:
        self._ring, self._keys = ring, ring.current


def _fresh() -> Key:
    return Key(secrets.token_hex(4), secrets.token_bytes(KEY_SIZE))
