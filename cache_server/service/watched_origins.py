"""Counts what origins are asked and how often they fail, whoever asks: a fill, a repair, a reader.

Whatever is asked, in whichever thread, is asked for the request that opened the origin. Between
the service and the adapters, which know of no counts.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from cache_protocol.errors import OriginError
from cache_protocol.ranges import Span
from cache_server.core.content import Listing, ModelSpec, OriginFile
from cache_server.core.tenants import Terms
from cache_server.core.tracing import request_id
from cache_server.ports import OpenOrigin, Origin, Stream
from cache_server.service.counters import Counters


class WatchedOrigins:
    """An ``OpenOrigin`` whose origins are watched."""

    def __init__(self, open_origin: OpenOrigin, counters: Counters) -> None:
        self._open_origin = open_origin
        self._counters = counters

    def __call__(self, spec: ModelSpec, terms: Terms) -> Origin:
        """Implement ``ports.OpenOrigin``."""
        scheme = spec.source.partition("://")[0]
        with _watched(self._counters, scheme):
            origin = self._open_origin(spec, terms)
        return _Watched(origin, scheme, self._counters)


class _Watched:
    def __init__(self, origin: Origin, scheme: str, counters: Counters) -> None:
        self._origin = origin
        self._scheme = scheme
        self._counters = counters
        self._request = request_id.get()

    def resolve(self) -> Listing:
        self._counters.count_origin_request(self._scheme)
        with _on_behalf_of(self._request), _watched(self._counters, self._scheme):
            return self._origin.resolve()

    def check_access(self) -> None:
        self._counters.count_origin_request(self._scheme)
        with _on_behalf_of(self._request), _watched(self._counters, self._scheme):
            self._origin.check_access()

    @contextmanager
    def open(self, listing_revision: str, file: OriginFile, span: Span) -> Iterator[Stream]:
        self._counters.count_origin_request(self._scheme)
        # Whoever reads lets the stream's errors pass through here.
        with (
            _on_behalf_of(self._request),
            _watched(self._counters, self._scheme),
            self._origin.open(listing_revision, file, span) as stream,
        ):
            yield stream

    def close(self) -> None:
        self._origin.close()


@contextmanager
def _on_behalf_of(request: str | None) -> Iterator[None]:
    before = request_id.set(request)
    try:
        yield
    finally:
        request_id.reset(before)


@contextmanager
def _watched(counters: Counters, scheme: str) -> Iterator[None]:
    try:
        yield
    except OriginError as error:
        counters.count_origin_error(scheme, error.code)
        raise
