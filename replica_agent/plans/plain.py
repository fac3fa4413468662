"""The plan that lays nothing out: an engine could not use what was laid out as it reads.

A plan and the engine's own may be equal, and the engine still has to have memory of its own: a
layer has put a slice of a parameter aside, say. Nothing that is laid out would help the next one.
So it leaves a plan of the same key without parameters, and whoever finds that brings plain files.
No plan that a trace makes is without parameters, nor as short: a list of plans says enough. Pure.
"""

from cache_protocol.plans import Key, Plan, dump_plan


def plain(key: Key) -> Plan:
    """Return the plan that lays nothing out for ``key``."""
    return Plan(key, (), (), (), ())


def is_plain(key: Key, size: int) -> bool:
    """Return whether a plan of ``key`` whose document has ``size`` bytes lays nothing out."""
    return size == len(dump_plan(plain(key)))
