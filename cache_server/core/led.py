"""Whether a site had somebody's browser ask, by what the browser says of it. Pure.

No page can have a browser say something else. Programs say nothing of it, but what their authors
chose to: who only answers programs refuses what is led, and loses nobody.
"""

from collections.abc import Mapping

# Source: Fetch Metadata Request Headers, 2.3; another port of a host is of the same site.
_OTHERS = ("cross-site", "same-site")


def led_by_another_site(fields: Mapping[str, str]) -> bool:
    """Whether a request with ``fields``, by names in lower case, comes from another site's page."""
    return fields.get("sec-fetch-site") in _OTHERS


def led_by_a_site(fields: Mapping[str, str]) -> bool:
    """Whether a page had it asked: one of another site, or any that sends its origin along."""
    return "origin" in fields or led_by_another_site(fields)
