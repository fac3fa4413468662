"""For which site a browser acts: it says so itself, and no page can have it say something else.

Programs say nothing of it. Where they must be told from browsers, something else has to do: a
token, or the proof of a form.
"""

from fastapi import Request

from cache_protocol.errors import ForbiddenError
from cache_server.core.led import led_by_another_site


def check_origin(request: Request) -> None:
    """Refuse what a browser says another site has sent; ForbiddenError."""
    origin = request.headers.get("origin")
    if origin is None:  # not a browser, or one that says nothing
        return
    if origin.partition("://")[2] != request.headers.get("host"):
        raise ForbiddenError("this form was sent by another site; open the page here and try again")


def check_unled(request: Request) -> None:
    """Refuse what another site has a browser ask, but for a link to a page; ForbiddenError.

    For a node that knows nobody: else any site that somebody on this machine looks at could have
    his browser evict, or fill, what it names.
    """
    check_origin(request)
    fields, path = request.headers, request.scope["path"]
    links = fields.get("sec-fetch-mode") == "navigate" and not path.startswith("/v1/")
    if led_by_another_site(fields) and not links:
        raise ForbiddenError("another site had your browser ask this; it is answered to no site")
