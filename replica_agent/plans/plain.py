"""The plan that lays nothing out: an engine could not use what was laid out as it reads.

A plan and the engine's own may be equal, and the engine still has to have memory of its own: a
layer has put a slice of a parameter aside, say. Nothing that is laid out would help the next one.
So it leaves a plan of the same key without parameters, and whoever finds that brings plain files.
No plan that a trace makes is without parameters. Pure.
"""

from cache_protocol.plans import Key, Plan


def plain(key: Key) -> Plan:
    """Return the plan that lays nothing out for ``key``."""
    return Plan(key, (), (), (), ())


def is_plain(plan: Plan) -> bool:
    """Return whether ``plan`` says that weights have to come as plain files."""
    return not plan.parameters
