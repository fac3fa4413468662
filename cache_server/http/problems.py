"""The one table from error to status code, and every failure as a problem document (RFC 9457)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import Match

from cache_protocol import errors
from cache_protocol.errors import CacheError, Retry, to_problem
from cache_server.http.annex import Annex

STATUS: dict[type[CacheError], int] = {
    errors.MalformedError: 422,
    errors.UnknownPipelineError: 404,
    errors.UnauthorizedError: 401,
    errors.ForbiddenError: 403,
    errors.UnknownTokenError: 404,
    errors.UnknownPlanError: 404,
    errors.PlanRefusedError: 409,
    errors.TicketError: 403,
    errors.GenerationGoneError: 410,
    errors.SlotInUseError: 409,
    errors.CapacityError: 507,
    errors.QuotaError: 429,
    errors.BusyError: 429,
    errors.DrainingError: 503,
    errors.DiskError: 503,
    errors.IntegrityError: 502,
    errors.OriginNotFoundError: 502,
    errors.OriginDeniedError: 502,
    errors.OriginChangedError: 502,
    errors.UnsafeContentError: 502,
    errors.OriginUnavailableError: 503,
    errors.OriginError: 502,
    errors.ServerUnreachableError: 503,
    CacheError: 500,
}
Handler = Callable[[Request, Exception], Response]
RETRY_AFTER = 5  # seconds a client is asked to wait where ``retry`` is ``later``
RETRY_LATER = (429, 503, 507)  # answers that say so in a header


def status_of(error: CacheError) -> int:
    """Return the status of ``error``: that of its nearest class in the table."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def answer(error: CacheError) -> JSONResponse:
    """Return ``error`` as a response."""
    status = status_of(error)
    headers = {"Retry-After": str(RETRY_AFTER)} if status in RETRY_LATER else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _problem(to_problem(error, status), status, headers)


def answer_as(
    error: CacheError, status: int, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return ``error`` as a response with a status of HTTP's own."""
    return _problem(to_problem(error, status), status, dict(headers or {}))


def install(app: FastAPI, annexes: Sequence[Annex] = ()) -> None:
    """Make every failure of ``app`` a problem document, whoever raised it.

    But for those of ``annexes``, which have words of their own.
    """
    for kind, handler in (
        (CacheError, _on_cache_error),
        (RequestValidationError, _on_invalid),
        (HTTPException, _on_http),
        (Exception, _on_bug),
    ):
        app.add_exception_handler(kind, _said_by(annexes, handler))


def _said_by(annexes: Sequence[Annex], handler: Handler) -> Handler:
    def handle(request: Request, error: Exception) -> Response:
        annex = next((a for a in annexes if a.covers(request.url.path)), None)
        if annex is None:
            return handler(request, error)
        status = error.status_code if isinstance(error, HTTPException) else None
        return annex.refuse(request, _in_general(error), status)

    return handle


def _in_general(error: Exception) -> CacheError:
    if isinstance(error, CacheError):
        return error
    if isinstance(error, HTTPException):
        return errors.MalformedError(str(error.detail))
    return CacheError("a bug of the node; its log has the traceback")


def _on_cache_error(_request: Request, error: Exception) -> JSONResponse:
    return answer(error if isinstance(error, CacheError) else CacheError(repr(error)))


def _on_invalid(_request: Request, error: Exception) -> JSONResponse:
    return (
        _invalid(error) if isinstance(error, RequestValidationError) else _on_bug(_request, error)
    )


def _on_http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        return _on_bug(request, error)
    if error.status_code == 405:
        return _http(HTTPException(405, error.detail, {"Allow": _allowed(request)}))
    if error.status_code == 400:  # FastAPI's word for a body that is not text, or nested too deep
        return answer(errors.MalformedError(f"body: {error.detail}"))
    return _http(error)


def _allowed(request: Request) -> str:
    """Return the methods of this path; the router itself names those of the first route alone."""
    routes = (context.original_route for context in iter_route_contexts(request.app.routes))
    methods = {
        method
        for route in routes
        if isinstance(route, APIRoute) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    return ", ".join(sorted(methods))


def _on_bug(_request: Request, _error: Exception) -> JSONResponse:
    return answer(CacheError("a bug of the node; its log has the traceback"))


def _invalid(error: RequestValidationError) -> JSONResponse:
    wrong = [
        {"field": _field(e), "message": e["msg"].removeprefix("Value error, ")}
        for e in error.errors()
    ]
    detail = "; ".join(f"{w['field']}: {w['message']}" for w in wrong)
    problem = to_problem(errors.MalformedError(detail), 422)
    return _problem({**problem, "errors": wrong}, 422, {})


def _field(error: Mapping[str, Any]) -> str:
    if error["type"] == "json_invalid":  # its place is a byte, not a field
        return "body"
    return ".".join(str(p) for p in error["loc"] if p not in ("body", "path")) or "body"


def _http(error: HTTPException) -> JSONResponse:
    problem = {
        "type": "about:blank",
        "title": str(error.detail),
        "status": error.status_code,
        "detail": str(error.detail),
        "code": "http",
        "retry": Retry.NEVER.value,
    }
    return _problem(problem, error.status_code, dict(error.headers or {}))


def _problem(problem: dict[str, object], status: int, headers: dict[str, str]) -> JSONResponse:
    return JSONResponse(problem, status, headers, media_type="application/problem+json")
