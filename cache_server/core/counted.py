"""The words by which the node counts what it does; each becomes a label of a metric. Pure."""

from enum import StrEnum


class Purpose(StrEnum):
    """What bytes of an origin were pulled for."""

    FILL = "fill"
    PASS_THROUGH = "pass-through"  # noqa: S105 - not a password
    REPAIR = "repair"


class Found(StrEnum):
    """How a replica's question for a manifest met its pipeline."""

    HIT = "hit"  # warm
    MISS = "miss"  # cold: a fill began
    JOINED = "joined"  # a fill ran already
    PASS_THROUGH = "pass-through"  # noqa: S105 - not kept; after it was a miss or a join


class Leaving(StrEnum):
    """Why content left the disk although it was good."""

    ROOM = "room"  # the policy needed its room
    ASKED = "asked"  # somebody evicted it
    REMOVED = "removed"  # its pipeline was removed


class Liar(StrEnum):
    """Who gave bytes that do not have their digest."""

    ORIGIN = "origin"
    DISK = "disk"
