"""Who holds how much room. Capacity is enforced here, before the first byte of a fill.

A generation is booked with its whole size from the moment its fill is admitted until its files
are gone, so that a burst of fills cannot outrun the limit. Pure and not locked.
"""

from cache_protocol.errors import CapacityError
from cache_protocol.units import show_size

BLOCK = 4096  # bytes; files are booked as whole blocks of ext4 and xfs


def room(sizes: list[int]) -> int:
    """Return the bytes that files of ``sizes`` take on disk, a block for each one's records."""
    return sum(-(-size // BLOCK) * BLOCK + BLOCK for size in sizes)


class Ledger:
    """Room by generation."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity  # bytes
        self._booked: dict[str, int] = {}

    @property
    def used(self) -> int:
        """Bytes booked, fills in progress included."""
        return sum(self._booked.values())

    @property
    def free(self) -> int:
        """Bytes that can still be booked; 0 when a smaller capacity was set than is in use."""
        return max(0, self.capacity - self.used)

    def book(self, generation: str, size: int, *, disk_free: int) -> None:
        """Book ``size`` bytes for ``generation``; booking again what is booked changes nothing.

        Raises as ``check`` does; then nothing was booked.
        """
        self.check(generation, size, disk_free=disk_free)
        self._booked.setdefault(generation, size)

    def check(self, generation: str, size: int, *, disk_free: int) -> None:
        """Say whether ``size`` bytes could be booked for ``generation`` now.

        Args:
            generation: whose bytes.
            size: bytes, as ``room`` counts them.
            disk_free: bytes that the file system still has for it; a second, independent limit.

        Raises:
            CapacityError: they do not fit.
        """
        if generation in self._booked:
            return
        if size > self.free:
            raise CapacityError(
                f"{show_size(size)} needed, {show_size(self.free)} free of "
                f"{show_size(self.capacity)} capacity"
            )
        if size > disk_free:
            raise CapacityError(
                f"{show_size(size)} needed, {show_size(disk_free)} free on the file system"
            )

    def adopt(self, generation: str, size: int) -> None:
        """Book what already lies on disk, whatever the limit says: it cannot be refused."""
        self._booked[generation] = size

    def release(self, generation: str) -> int:
        """Give the room of ``generation`` back; return the bytes, 0 for one that had none."""
        return self._booked.pop(generation, 0)
