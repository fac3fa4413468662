"""The few words by which an operator sees how a pipeline stands: ``cache: warm``, ``pinned``.

Pure: it reads the contract's ``cache`` view, so that a page says what the API says. Colour and
markup are for who shows it; the words alone carry the meaning.
"""

from collections.abc import Mapping
from typing import Any


def chips(cache: Mapping[str, Any]) -> list[str]:
    """Return the words for ``cache`` of a pipeline, the state first.

    A share is rounded down: 100 % is never said of a fill that is not done.
    """
    words = [_state(cache)]
    if cache["pinned"]:
        words.append("pinned")
    if cache["hot"] and cache["hot_until"]:
        words.append(f"hot until {cache['hot_until']}")
    return words


def _state(cache: Mapping[str, Any]) -> str:
    state: str = cache["state"]
    if state != "filling" or not cache["size"]:  # its size is not known before the origin says
        return state
    return f"filling {100 * cache['filled'] // cache['size']} %"
