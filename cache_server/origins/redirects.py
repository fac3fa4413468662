"""Which redirects of an origin are followed. The one place for that policy.

Where a followed one may lead, as an address, is judged when it is connected to: ``dialling``.
"""

from urllib.parse import SplitResult, urljoin, urlsplit

from cache_protocol.errors import MalformedError

MAX_REDIRECTS = 5  # a hub needs 1 or 2; curl's --location stops at 50, requests at 30
STATUSES = frozenset({301, 302, 303, 307, 308})


def next_url(url: str, location: str | None) -> str:
    """Return the absolute URL that ``location``, sent in answer to ``url``, leads to.

    Raises:
        MalformedError: not an http(s) URL, or one that leaves TLS behind.
    """
    try:
        target = urlsplit(urljoin(url, location or ""))
        port_is_sane = target.port is None or target.port > 0
    except ValueError as error:
        raise MalformedError(f"{place(url)} redirects to what is not a URL") from error
    plain = target.geturl()
    if not (location and port_is_sane and target.hostname and plain.isascii()):
        raise MalformedError(f"{place(url)} redirects to what is not a URL")
    if target.scheme not in ("http", "https"):
        raise MalformedError(f"{place(url)} redirects to another scheme; it is not followed")
    if target.scheme == "http" and urlsplit(url).scheme == "https":
        raise MalformedError(f"{place(url)} redirects from https to http; it is not followed")
    return plain


def same_origin(one: str, other: str) -> bool:
    """Return whether two URLs share scheme, host and port (RFC 6454): secrets may travel."""
    return _origin(urlsplit(one)) == _origin(urlsplit(other))


def _origin(url: SplitResult) -> tuple[str, str | None, int]:
    return url.scheme, url.hostname, url.port or (443 if url.scheme == "https" else 80)


def place(url: str) -> str:
    """Return ``url`` for a message: without query and user, where signatures and secrets are."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
