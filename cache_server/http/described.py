"""What the API says of itself: for each call its answer, and every way in which it can be refused.

The table says what is particular to a call. What the door and the rule of a route answer is the
same everywhere and is said once, from the same table of errors that makes those answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from cache_protocol import errors
from cache_protocol.errors import CacheError
from cache_protocol.names import PIPELINE
from cache_server.core.access import Right
from cache_server.http import answers
from cache_server.http.access import ABOUT_ALL, TENANT_HEADER, rule_of
from cache_server.http.problems import RETRY_LATER, STATUS

PROBLEM = "application/problem+json"
_REF = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class Said:
    """What is particular to one call."""

    answer: type[BaseModel] | None  # None: it has no content, or none of JSON
    refusals: tuple[type[CacheError], ...] = ()


_ORIGIN = (
    errors.OriginNotFoundError,
    errors.OriginDeniedError,
    errors.OriginChangedError,
    errors.OriginUnavailableError,
    errors.IntegrityError,
)
_KEEPING = (errors.CapacityError, errors.DrainingError)  # what may speak against a new reader
_WITHHELD = (errors.OriginDeniedError, errors.OriginUnavailableError)
_ABSENT = (errors.UnknownPipelineError,)

CALLS: dict[str, Said] = {
    "GET /healthz": Said(answers.HealthAnswer),
    "GET /readyz": Said(answers.HealthAnswer),
    "GET /v1/pipelines": Said(answers.PipelinesAnswer),
    "PUT /v1/pipelines/{pipeline}": Said(answers.PipelineAnswer, _ABSENT),
    "GET /v1/pipelines/{pipeline}": Said(answers.PipelineAnswer, _ABSENT),
    "DELETE /v1/pipelines/{pipeline}": Said(answers.FreedAnswer, (*_ABSENT, errors.SlotInUseError)),
    "POST /v1/pipelines/{pipeline}/warm": Said(
        answers.PipelineAnswer, (*_ABSENT, *_KEEPING, *_ORIGIN)
    ),
    "POST /v1/pipelines/{pipeline}/touch": Said(None, _ABSENT),
    "POST /v1/pipelines/{pipeline}/evict": Said(
        answers.FreedAnswer, (*_ABSENT, errors.SlotInUseError)
    ),
    "PUT /v1/pipelines/{pipeline}/pin": Said(answers.PipelineAnswer, _ABSENT),
    "DELETE /v1/pipelines/{pipeline}/pin": Said(answers.PipelineAnswer, _ABSENT),
    "GET /v1/eviction-plan": Said(answers.PlanAnswer),
    "GET /v1/pipelines/{pipeline}/manifest": Said(
        answers.ManifestAnswer, (*_ABSENT, *_KEEPING, *_ORIGIN)
    ),
    "GET /v1/pipelines/{pipeline}/plans/{model}": Said(
        answers.ReadingPlansAnswer, (*_ABSENT, errors.UnknownPlanError, *_WITHHELD)
    ),
    "GET /v1/pipelines/{pipeline}/plans/{model}/{digest}": Said(
        None, (*_ABSENT, errors.UnknownPlanError, *_WITHHELD)
    ),
    "PUT /v1/pipelines/{pipeline}/plans/{model}/{digest}": Said(
        None,
        (
            *_ABSENT,
            errors.UnknownPlanError,
            errors.PlanRefusedError,
            errors.GenerationGoneError,
            errors.CapacityError,
            *_WITHHELD,
        ),
    ),
    "GET /v1/leases/{lease}/manifest": Said(answers.ManifestAnswer, (errors.GenerationGoneError,)),
    "PUT /v1/leases/{lease}": Said(answers.LeaseAnswer, (errors.GenerationGoneError,)),
    "DELETE /v1/leases/{lease}": Said(None),
    "GET /v1/status": Said(answers.StatusAnswer),
    "POST /v1/scrub": Said(answers.ScrubAnswer, _ABSENT),
    "POST /v1/boots": Said(answers.BootAnswer, _ABSENT),
    "GET /v1/boots": Said(answers.BootsAnswer, _ABSENT),
    "GET /v1/boots/stats": Said(answers.BootStatsAnswer, _ABSENT),
    "POST /v1/tokens": Said(answers.NewTokenAnswer),
    "GET /v1/tokens": Said(answers.TokensAnswer),
    "DELETE /v1/tokens/{token}": Said(None, (errors.UnknownTokenError,)),
    "POST /v1/tickets/rotate": Said(answers.TicketKeysAnswer),
}
# The door, for everybody; and for who needs a token.
_DOOR = {
    408: "the body did not come in time",
    413: "the body is too large",
}
_RULED = (
    errors.UnauthorizedError,
    errors.ForbiddenError,
    errors.MalformedError,
    errors.BusyError,
    errors.QuotaError,
    errors.DiskError,
)


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of ``app``."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    components = document.setdefault("components", {})
    components["schemas"] = _own_schemas(components.get("schemas", {})) | _answer_schemas()
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for call, route, operation in _operations(app, document):
        rule = rule_of(route)
        _describe_call(operation, CALLS.get(call, Said(None)), ruled=rule is not None)
        if rule is not None:
            _describe_caller(operation, rule)
    return document


def _operations(
    app: FastAPI, document: dict[str, Any]
) -> Iterator[tuple[str, APIRoute, dict[str, Any]]]:
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in sorted(route.methods or ()):
                operation = document["paths"][context.path][method.lower()]
                yield f"{method} {context.path}", route, operation


def _describe_call(operation: dict[str, Any], said: Said, *, ruled: bool) -> None:
    said_by_route: dict[str, Any] = operation["responses"]
    said_by_route.pop("422", None)  # FastAPI's own form of it, which is not ours
    if said.answer is not None:
        for response in said_by_route.values():
            response["content"] = {"application/json": {"schema": _ref(said.answer)}}
    refusals = _refusals((*(_RULED if ruled else ()), *said.refusals))
    for status, why in {**_DOOR, **refusals}.items():
        said_by_route[str(status)] = _problem(status, why)


def _describe_caller(operation: dict[str, Any], rule: Right) -> None:
    operation["security"] = [{"token": []}]
    name = rf"{PIPELINE.pattern}|\*" if rule in ABOUT_ALL else PIPELINE.pattern
    tenant = {
        "name": TENANT_HEADER.title(),
        "in": "header",
        "required": False,
        "description": "Admins, and viewers of all tenants: whom to act for.",
        "schema": {"type": "string", "pattern": f"^({name})$"},
    }
    operation.setdefault("parameters", []).append(tenant)


def _refusals(kinds: tuple[type[CacheError], ...]) -> dict[int, str]:
    """Return by status which codes ``kinds`` have, with their titles."""
    found: dict[int, str] = {}
    for kind in kinds:
        status, text = STATUS[kind], f"`{kind.code}`: {kind.title}"
        found[status] = f"{found[status]}\n\n{text}" if status in found else text
    return found


def _problem(status: int, why: str) -> dict[str, Any]:
    headers = {}
    if status in RETRY_LATER:
        seconds = {"type": "integer", "minimum": 0}
        headers["Retry-After"] = {"description": "seconds", "required": True, "schema": seconds}
    if status == 401:
        headers["WWW-Authenticate"] = {"required": True, "schema": {"type": "string"}}
    content = {PROBLEM: {"schema": _ref(answers.Problem)}}
    return {"description": why, "content": content} | ({"headers": headers} if headers else {})


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _answer_schemas() -> dict[str, Any]:
    shown = [said.answer for said in CALLS.values() if said.answer is not None]
    models: list[type[BaseModel]] = list(dict.fromkeys([answers.Problem, *shown]))
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    definitions: dict[str, Any] = schemas["$defs"]
    return definitions


def _own_schemas(schemas: dict[str, Any]) -> dict[str, Any]:
    unused = ("HTTPValidationError", "ValidationError")  # FastAPI's, for answers that are not ours
    return {name: schema for name, schema in schemas.items() if name not in unused}
