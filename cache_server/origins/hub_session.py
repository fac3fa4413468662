"""The HTTP session of huggingface_hub in this process: one attempt, with time limits.

On its own the library retries a tree page six times without a time limit, and sleeps as long as
a ``Retry-After`` wants; that is the fill's to decide. An answer of 400 and above leaves as one
of our errors, past the library's retries, which know only errors of their own. Nothing is
decompressed: a small answer could be a large one.
"""

from threading import Lock
from typing import Any

import httpx2
from huggingface_hub import set_client_factory

from cache_protocol.errors import MalformedError, OriginUnavailableError
from cache_protocol.json_bounds import check_marks
from cache_server.core.tracing import trace_headers
from cache_server.origins.answers import check_encoding, refusal
from cache_server.origins.question import current, whole
from cache_server.origins.redirects import MAX_REDIRECTS, place, same_origin


class _OneAttempt(httpx2.Client):
    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:  # noqa: ANN401
        """Send ``request`` once; any failure leaves as an OriginError."""
        what = place(str(request.url))
        wants_stream = options.pop("stream", False)
        request.headers["Accept-Encoding"] = "identity"
        request.headers.update(trace_headers())
        try:
            response = self._follow(request, options)
            if response.status_code >= 400:
                response.close()
                raise refusal(response.status_code, response.headers, what)
            return response if wants_stream else _read(response, what)
        except httpx2.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise OriginUnavailableError(f"{what}: {reason}") from error

    def _follow(self, request: httpx2.Request, options: dict[str, Any]) -> httpx2.Response:
        """Follow redirects as long as they stay at the hub: a renamed repository's do."""
        options["follow_redirects"] = False
        for _ in range(1 + MAX_REDIRECTS):
            _check_host(request)
            response = super().send(request, stream=True, **options)
            if response.next_request is None:
                return response
            response.close()
            target = str(response.next_request.url)
            if not same_origin(str(request.url), target):
                raise MalformedError(
                    f"{place(str(request.url))} redirects to {place(target)}, another host; what "
                    "a hub says of its repositories is read from the hub alone"
                )
            request = response.next_request
        raise OriginUnavailableError(
            f"{place(str(request.url))} redirects more than {MAX_REDIRECTS} times"
        )


def _check_host(request: httpx2.Request) -> None:
    """Refuse to ask anybody but the hub: it names the next page, and our token goes along.

    The library itself asks elsewhere now and then, for what it can do without.
    """
    target, endpoint = str(request.url), current().endpoint
    if endpoint is not None and not same_origin(endpoint, target):
        raise MalformedError(
            f"{place(endpoint)} sends to {place(target)}, another host; what a hub says of its "
            "repositories is read from the hub alone"
        )


def _read(response: httpx2.Response, what: str) -> httpx2.Response:
    """Return ``response`` with its body, which is as it was sent."""
    try:
        check_encoding(response.headers, what)
        body = whole(response.iter_raw(), what)
    finally:
        response.close()
    check_marks(body)  # it is JSON, or nothing that anybody reads
    return httpx2.Response(
        response.status_code,
        headers=response.headers,
        content=body,
        request=response.request,
    )


_lock = Lock()
_installed: httpx2.Timeout | None = None


def use_one_attempt(*, connect_timeout: float, stall_timeout: float) -> None:
    """Make every later call of huggingface_hub in this process one attempt; seconds."""
    global _installed  # noqa: PLW0603 - the library's session is one per process, so is this
    timeout = httpx2.Timeout(stall_timeout, connect=connect_timeout)
    with _lock:
        # Not again for every origin: it closes the session under whoever is using it.
        if _installed != timeout:
            set_client_factory(lambda: _OneAttempt(follow_redirects=True, timeout=timeout))
            _installed = timeout
