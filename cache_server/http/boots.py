"""Reports of boots: taken from replicas, given to people. Bounded in every field."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from cache_server.catalogue.boots import Boots
from cache_server.catalogue.registry import Key
from cache_server.core.boot_stats import summarise
from cache_server.http.access import Reporter, Viewer
from cache_server.http.boot_figures import stats_view

Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")]
Short = Annotated[str, Field(max_length=255)]
Words = Annotated[str, Field(max_length=4096)]


def _number(value: object) -> object:
    # Strictness of pydantic's would refuse 1.0 as a count, which is one in JSON.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("is no number")  # noqa: TRY004 - pydantic wants it so
    return value


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("is no text")  # noqa: TRY004 - pydantic wants it so
    return value


def _utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:  # hours before the first year, or after the last
        raise ValueError("is out of the calendar") from error


Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False), BeforeValidator(_number)]
# The bound is what a number of JSON carries: RFC 8259, section 6.
Size = Annotated[int, Field(ge=0, lt=2**53), BeforeValidator(_number)]
# RFC 3339, and no seconds since 1970
Instant = Annotated[AwareDatetime, BeforeValidator(_text), AfterValidator(_utc)]
FIGURED = 100  # last boots of each pipeline that figures are made of, for many pipelines at once
FIGURED_OF_ONE = 1000


class PhaseBody(BaseModel):
    """One phase of a boot."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,39}$")]
    start: Seconds
    seconds: Seconds


class BootBody(BaseModel):
    """One boot. Fields that a newer agent adds are not kept, and no reason to refuse it."""

    model_config = ConfigDict(extra="ignore")

    pipeline: Id
    host: Short
    device: Short
    start_path: Short
    ok: Annotated[bool, Field(strict=True)]
    started: Instant
    phases: Annotated[list[PhaseBody], Field(max_length=100)]
    bytes: Size
    verified_bytes: Size
    local_bytes: Size | None = None
    source: Literal["cache", "pass-through", "origin"]
    reason: Words | None = None
    notes: Annotated[list[Words], Field(max_length=20)] = []
    request_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None
    weight_wait: Seconds
    time_to_ready: Seconds

    def report(self) -> dict[str, Any]:
        """Return it as it is kept: the fields of the contract."""
        fields = self.model_dump(exclude_none=True, exclude_defaults=False)
        started = self.started.isoformat(timespec="milliseconds")
        fields["started"] = started.replace("+00:00", "Z")
        return fields if self.notes else {k: v for k, v in fields.items() if k != "notes"}


def router(
    boots: Boots,
    now: Callable[[], datetime],
    region: str,
    kept: Callable[[Key, dict[str, Any]], None],
) -> APIRouter:
    """Return the routes of boot reports.

    ``region`` is noted with each, since hosts move; ``kept`` is told what was.
    """
    routes = APIRouter(prefix="/v1", tags=["boots"])

    @routes.post("/boots", status_code=201)
    def add(body: BootBody, caller: Reporter) -> dict[str, Any]:
        """Keep the report of one boot; also of a pipeline that nobody registered."""
        report = body.report() | {"region": region}
        key = caller.key(body.pipeline)
        boots.add(key, report, now())
        kept(key, report)
        return report

    @routes.get("/boots")
    def show(
        caller: Viewer,
        pipeline: Id | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """Return the last reports of pipelines that are there for the caller, newest first."""
        only = caller.identity.pipelines if pipeline is None else {caller.name(pipeline)}
        return {"boots": boots.last(caller.tenant, only, limit)}

    @routes.get("/boots/stats")
    def stats(caller: Viewer, pipeline: Id | None = None) -> dict[str, Any]:
        """Return percentiles and regressions by pipeline, region and start path."""
        only = caller.identity.pipelines if pipeline is None else {caller.name(pipeline)}
        limit = FIGURED if pipeline is None else FIGURED_OF_ONE
        reports = boots.last_of_each(caller.tenant, only, limit)
        return {"stats": [stats_view(each) for each in summarise(reports)]}

    return routes
