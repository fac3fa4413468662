"""Which names a listing shows: prefix, delimiter, pages. Pure.

    keys        m/a/1  m/a/2  m/b  n/c           in the order of their UTF-8 bytes
    delimiter   /, prefix m/                  →  common prefix m/a/, key m/b
    a page      at most so many of both; the next one goes on after its last

Code points of Python's strings sort as UTF-8's bytes do, so ``sorted`` is S3's order.
"""

import base64
import binascii
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cache_server.doors.s3.refusals import Code, S3Error

MAX_KEYS = 1000  # in one page; S3's


@dataclass(frozen=True, slots=True)
class Question:
    """What a listing is to show."""

    prefix: str = ""
    delimiter: str = ""
    after: str = ""  # a key, or a common prefix that was shown already
    most: int = MAX_KEYS  # keys and common prefixes


@dataclass(frozen=True, slots=True)
class Page:
    """What it shows, in order."""

    keys: tuple[str, ...]
    prefixes: tuple[str, ...]
    last: str  # key or prefix that comes last; empty on an empty page
    truncated: bool


def page_of(keys: Sequence[str], question: Question) -> Page:
    """Return the page of ``keys``, which are sorted, that ``question`` asks for.

    Takes one look-up for each thing on the page, however many keys lie below a prefix.
    """
    shown: list[str] = []
    prefixes: list[str] = []
    last, truncated = "", False
    for name, is_prefix in _names(keys, question):
        if len(shown) + len(prefixes) >= question.most:
            truncated = question.most > 0  # S3 says of a page that may hold nothing: that is all
            break
        (prefixes if is_prefix else shown).append(name)
        last = name
    return Page(tuple(shown), tuple(prefixes), last, truncated)


def _names(keys: Sequence[str], question: Question) -> Iterator[tuple[str, bool]]:
    """Yield keys, and common prefixes each once, that come after ``question.after``."""
    at = max(bisect_left(keys, question.prefix), bisect_right(keys, question.after))
    while at < len(keys) and keys[at].startswith(question.prefix):
        common = _common_prefix(keys[at], question)
        if common is None:
            yield keys[at], False
            at += 1
            continue
        if common != question.after:  # it stood on the page before
            yield common, True
        # All that begin alike stand together; no name can be made up that is above all of them.
        at = bisect_right(keys, common, at, key=lambda key: key[: len(common)])


def _common_prefix(key: str, question: Question) -> str | None:
    if not question.delimiter:
        return None
    end = key.find(question.delimiter, len(question.prefix))
    return None if end < 0 else key[: end + len(question.delimiter)]


# Tokens: opaque to clients, so that nobody builds one; they say no more than a key does.


def token_after(last: str) -> str:
    """Return the token with which a listing goes on after ``last``."""
    return base64.urlsafe_b64encode(last.encode()).decode()


def after_token(token: str) -> str:
    """Return what ``token_after`` was given.

    Raises:
        S3Error: InvalidArgument, it never gave this.
    """
    try:
        after = base64.b64decode(token.encode("ascii"), b"-_", validate=True).decode()
    except (ValueError, binascii.Error) as error:
        raise _wrong_token() from error
    if not after or token_after(after) != token:
        raise _wrong_token()
    return after


def _wrong_token() -> S3Error:
    return S3Error(
        Code.INVALID_ARGUMENT,
        "The continuation token provided is incorrect",
        details={"ArgumentName": "continuation-token"},
    )


def most_of(text: str | None, name: str = "max-keys", most: int = MAX_KEYS) -> int:
    """Return how many things a page may hold, as a client says it, at ``most`` so many.

    Raises:
        S3Error: InvalidArgument, that is no number.
    """
    if text is None:
        return most
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) < 2**31):
        raise S3Error(
            Code.INVALID_ARGUMENT,
            f"{name} must be an integer between 0 and 2147483647",
            details={"ArgumentName": name, "ArgumentValue": text[:200]},
        )
    return min(int(text), most)
