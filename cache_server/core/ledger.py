"""Who holds how much room. Capacity is enforced here, before the first byte of a fill.

A generation is booked with its whole size from the moment its fill is admitted until its files
are gone, so that a burst of fills cannot outrun the limit. Pure and not locked.
"""

from collections import Counter
from typing import NamedTuple

from cache_protocol.errors import CapacityError
from cache_protocol.units import show_size

BLOCK = 4096  # bytes; files are booked as whole blocks of ext4 and xfs


def room(sizes: list[int]) -> int:
    """Return the bytes that files of ``sizes`` take on disk, a block for each one's records."""
    return sum(-(-size // BLOCK) * BLOCK + BLOCK for size in sizes)


class _Booking(NamedTuple):
    size: int  # bytes
    tenant: str


class Ledger:
    """Room by generation, and the sum of each tenant."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity  # bytes
        self._booked: dict[str, _Booking] = {}
        self._used_by: Counter[str] = Counter()  # bytes of each tenant
        self._used = 0  # bytes; the sum, kept because it is asked for with every plan

    @property
    def used(self) -> int:
        """Bytes booked, fills in progress included."""
        return self._used

    @property
    def free(self) -> int:
        """Bytes that can still be booked; 0 when a smaller capacity was set than is in use."""
        return max(0, self.capacity - self.used)

    def used_by(self, tenant: str) -> int:
        """Return the bytes booked for generations of ``tenant``."""
        return self._used_by[tenant]

    def book(self, generation: str, size: int, *, tenant: str, disk_free: int) -> None:
        """Book ``size`` bytes for ``generation``; booking again what is booked changes nothing.

        Raises as ``check`` does; then nothing was booked.
        """
        self.check(generation, size, disk_free=disk_free)
        if generation not in self._booked:
            self._set(generation, _Booking(size, tenant))

    def check(self, generation: str, size: int, *, disk_free: int) -> None:
        """Say whether ``size`` bytes could be booked for ``generation`` now.

        Args:
            generation: whose bytes.
            size: bytes, as ``room`` counts them.
            disk_free: bytes that the file system still has for it; a second, independent limit.

        Raises:
            CapacityError: they do not fit.
        """
        if generation not in self._booked and self.lack(size, disk_free=disk_free):
            raise self.refusal(size, disk_free=disk_free)

    def has(self, generation: str) -> bool:
        """Whether ``generation`` is booked."""
        return generation in self._booked

    def size(self, generation: str) -> int:
        """Return the bytes booked for ``generation``; 0 if it is not."""
        booking = self._booked.get(generation)
        return 0 if booking is None else booking.size

    def lack(self, size: int, *, disk_free: int) -> int:
        """Return the bytes that have to go before ``size`` more fit within both limits."""
        return max(0, size - min(self.free, disk_free))

    def refusal(self, size: int, *, disk_free: int) -> CapacityError:
        """Return the error that ``size`` bytes do not fit, with its numbers."""
        numbers = {"needed": size, "free": min(self.free, disk_free)}
        if size > self.free:
            limit = f"{show_size(self.free)} free of {show_size(self.capacity)} capacity"
        else:
            limit = f"{show_size(disk_free)} free on the file system"
        return CapacityError(f"{show_size(size)} needed, {limit}", **numbers)

    def adopt(self, generation: str, size: int, *, tenant: str) -> None:
        """Book what already lies on disk, whatever the limit says: it cannot be refused."""
        self.release(generation)
        self._set(generation, _Booking(size, tenant))

    def release(self, generation: str) -> int:
        """Give the room of ``generation`` back; return the bytes, 0 for one that had none."""
        booking = self._booked.pop(generation, None)
        if booking is None:
            return 0
        self._used -= booking.size
        self._used_by[booking.tenant] -= booking.size
        if not self._used_by[booking.tenant]:
            del self._used_by[booking.tenant]  # tenants come and go
        return booking.size

    def _set(self, generation: str, booking: _Booking) -> None:
        self._booked[generation] = booking
        self._used += booking.size
        self._used_by[booking.tenant] += booking.size
