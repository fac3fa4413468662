"""Life of a slot: the weights of one pipeline on this node.

            FILL           PUBLISHED          EVICT
    COLD ────────> FILLING ────────> WARM ────────────> EVICTING
     ^ │              │ FAILED │      │ DAMAGED            ^ │ GONE
     │ └──────────────┼────────┴──────┼──── EVICT ─────────┘ │
     └────────────────┴───────────────┴──────────────────────┘

A failed or damaged slot is COLD and keeps its good chunks: the next FILL goes on from them.
After a crash what was published is WARM, everything else COLD.
All rules of the life of a slot are in this file; nothing else assigns a state.
"""

from enum import StrEnum, auto


class SlotState(StrEnum):
    """Where a slot is in its life; the names appear on the wire and in metrics."""

    COLD = auto()
    FILLING = auto()
    WARM = auto()
    EVICTING = auto()


class SlotEvent(StrEnum):
    """What can happen to a slot."""

    FILL = auto()
    PUBLISHED = auto()
    FAILED = auto()
    DAMAGED = auto()
    EVICT = auto()
    GONE = auto()


TRANSITIONS: dict[tuple[SlotState, SlotEvent], SlotState] = {
    (SlotState.COLD, SlotEvent.FILL): SlotState.FILLING,
    (SlotState.FILLING, SlotEvent.PUBLISHED): SlotState.WARM,
    (SlotState.FILLING, SlotEvent.FAILED): SlotState.COLD,
    (SlotState.WARM, SlotEvent.DAMAGED): SlotState.COLD,
    (SlotState.WARM, SlotEvent.EVICT): SlotState.EVICTING,
    (SlotState.COLD, SlotEvent.EVICT): SlotState.EVICTING,
    (SlotState.FILLING, SlotEvent.EVICT): SlotState.EVICTING,
    (SlotState.EVICTING, SlotEvent.GONE): SlotState.COLD,
}


def advance(state: SlotState, event: SlotEvent) -> SlotState:
    """Return the state after ``event``.

    Raises:
        ValueError: ``event`` cannot happen in ``state``; a bug in the caller.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ValueError(f"{event} cannot happen to a {state} slot") from None
