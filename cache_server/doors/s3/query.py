"""A query as S3 reads it, and as signatures cover it. Pure."""

from collections.abc import Iterable
from urllib.parse import quote, unquote_plus

from cache_server.doors.s3.refusals import Code, S3Error

MAX_PARAMETERS = 100  # a presigned listing has twenty


def parse_query(query: str) -> dict[str, str]:
    """Return the parameters of a raw ``query``; one without a value has an empty one.

    Raises:
        S3Error: InvalidURI, not UTF-8 or too many; InvalidArgument, one that stands twice: of two
            readers one might take the first and one the last.
    """
    parameters: dict[str, str] = {}
    for name, value in _pairs(query):
        if name in parameters:
            raise S3Error(
                Code.INVALID_ARGUMENT,
                "a parameter stands twice in the query",
                details={"ArgumentName": name[:200]},
            )
        parameters[name] = value
    return parameters


def signed_pairs(query: str, without: str) -> list[tuple[str, str]]:
    """Return the pairs of a raw ``query`` as they stand there, but for those called ``without``."""
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return [(name, value) for name, _, value in pairs if name != without]


def joined(pairs: Iterable[tuple[str, str]]) -> str:
    """Return ``pairs`` in the order in which they are signed."""
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def encoded(text: str) -> str:
    """Return raw ``text`` of a query in S3's one spelling: RFC 3986's unreserved alone stay."""
    return quote(
        unquote_plus(text, errors="surrogateescape"), safe="-_.~", errors="surrogateescape"
    )


def _pairs(query: str) -> Iterable[tuple[str, str]]:
    raw = signed_pairs(query, without="")
    if len(raw) > MAX_PARAMETERS:
        raise S3Error(
            Code.INVALID_URI, f"the query has {len(raw)} parameters, above {MAX_PARAMETERS}"
        )
    try:
        return [
            (unquote_plus(n, errors="strict"), unquote_plus(v, errors="strict")) for n, v in raw
        ]
    except UnicodeDecodeError as error:
        raise S3Error(Code.INVALID_URI, "the query is not percent-encoded UTF-8") from error
