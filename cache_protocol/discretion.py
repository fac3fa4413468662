"""Take secrets out of what others say. Pure.

An origin may repeat a credential in its refusal, and its words go into logs, the API and reports
of boots. Whoever holds the credential knows what to look for.
"""

from collections.abc import Iterable
from urllib.parse import quote, quote_plus

HEAD = 8  # characters by which a secret is known, since a message may be cut in the middle of one
INSTEAD = "[secret]"


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` without any of ``secrets``, whole, percent-encoded or cut off at its end."""
    for secret in filter(None, secrets):
        text = _without(text, {secret, quote(secret, safe=""), quote_plus(secret)})
    return text


def _without(text: str, forms: Iterable[str]) -> str:
    for head in {form[:HEAD] for form in forms}:
        at = 0
        while (at := text.find(head, at)) >= 0:
            longest = max(_shared(text[at:], form) for form in forms)
            text = text[:at] + INSTEAD + text[at + longest :]
            at += len(INSTEAD)
    return text


def _shared(text: str, secret: str) -> int:
    """Return how many characters both begin with."""
    pairs = zip(text, secret, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(text), len(secret)))
