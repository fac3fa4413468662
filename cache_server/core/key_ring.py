"""The keys of a node's tickets over time: one signs, older ones are accepted for a while. Pure.

    fresh ──signs──> retired ──accepted for the life of a ticket──> gone

Every ticket that a key signed has run out when the key goes, so that a rotation breaks no pull
that runs. Only ``revoke`` ends all tickets at once: for a key that somebody else may know.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cache_protocol.tickets import Key, Keys

MAX_AGE = 86400.0  # seconds that one key signs
# Seconds that the longest ticket is good for: of a program that cannot have it renewed, as the
# agent does. The hub's own URLs live as long; a file of 100 GB takes it at 220 Mbit/s.
LONGEST_LIFE = 3600
MAX_KEYS = 16  # as many rotations within the life of a ticket; then the oldest goes early


@dataclass(frozen=True, slots=True)
class DatedKey:
    """A key and its life, in unix seconds."""

    key: Key
    made: float
    retired: float | None = None  # None: it signs


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All keys, the newest first; that one signs."""

    node: str
    keys: tuple[DatedKey, ...]

    @property
    def current(self) -> Keys:
        """The keys as signing and checking need them."""
        return Keys(self.node, tuple(dated.key for dated in self.keys))

    def is_due(self, now: float) -> bool:
        """Whether another key should sign: for its age, or because the clock was set back."""
        return not 0 <= now - self.keys[0].made < MAX_AGE

    def rotated(self, fresh: Key, now: float, *, revoke: bool = False) -> "KeyRing":
        """Return the ring with ``fresh`` signing; with ``revoke`` no other key is accepted."""
        signed, *retired = self.keys
        old = () if revoke else (DatedKey(signed.key, signed.made, now), *retired)
        keys = (DatedKey(fresh, now), *old)[:MAX_KEYS]
        return KeyRing(self.node, keys).pruned(now)

    def pruned(self, now: float) -> "KeyRing":
        """Return the ring without keys whose tickets have all run out."""
        kept = (d for d in self.keys if d.retired is None or 0 <= now - d.retired < LONGEST_LIFE)
        return KeyRing(self.node, tuple(kept))


def dump_ring(ring: KeyRing) -> dict[str, Any]:
    """Return ``ring`` as JSON values; they are secrets."""
    keys = [
        {"id": d.key.id, "secret": d.key.secret.hex(), "made": d.made, "retired": d.retired}
        for d in ring.keys
    ]
    return {"node": ring.node, "keys": keys}


def load_ring(fields: Mapping[str, Any]) -> KeyRing:
    """Return the ring that ``dump_ring`` wrote.

    Raises:
        ValueError, KeyError, TypeError: it did not.
    """
    keys = tuple(
        DatedKey(Key(k["id"], bytes.fromhex(k["secret"])), k["made"], k["retired"])
        for k in fields["keys"]
    )
    if not keys:
        raise ValueError("a ring without a key")
    return KeyRing(fields["node"], keys)
