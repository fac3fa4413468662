"""Which of the plans that a node keeps make up one engine. Pure: sees keys, no plans."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from cache_protocol.plans import Key

Group = tuple[Key, ...]  # one key per rank, in order


def whole_groups(keys: Iterable[Key], expected: Callable[[Key], bool]) -> list[Group]:
    """Return the groups of ``expected`` keys that have every rank; in the order of ``keys``."""
    groups: dict[Key, dict[int, Key]] = {}
    for key in filter(expected, keys):
        groups.setdefault(replace(key, rank=0), {})[key.rank] = key
    return [
        tuple(ranks[rank] for rank in range(common.ranks))
        for common, ranks in groups.items()
        if len(ranks) == common.ranks
    ]
