"""What answers look like: shapes that the description of the API shows. Nothing is checked here.

Views are made as plain values where they are decided; to run each through a model would double
what a list of many pipelines costs. That they fit is what the tests of the API are for. Fields
may be added: readers leave alone what they do not know.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from cache_protocol.errors import Retry
from cache_protocol.formats import Hazard
from cache_server.core.access import Role
from cache_server.core.slots import SlotState


class Wrong(BaseModel):
    """One field of a request that cannot stay."""

    field: str
    message: str


class Problem(BaseModel):
    """Why a call was refused or failed (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str  # with the numbers
    code: str  # stable
    retry: Retry
    numbers: dict[str, int] | None = None  # bytes
    errors: list[Wrong] | None = None


class Failure(BaseModel):
    """How the last attempt to fill a pipeline failed."""

    code: str
    detail: str
    retry: Retry
    at: datetime


class NextFill(BaseModel):
    """The generation that fills beside a warm one."""

    generation: str | None
    size: int | None
    filled: int
    eta: datetime | None = None


class AccessAnswer(BaseModel):
    """What the hub said of a warm pipeline that not everybody may read."""

    confirmed: datetime  # its last yes
    denied: str | None  # its words, where it said no after that


class CacheAnswer(BaseModel):
    """What is kept of a pipeline."""

    state: SlotState
    warm: bool
    pinned: bool
    hot: bool
    hot_until: datetime | None
    size: int | None
    filled: int
    generation: str | None
    last_request: datetime | None
    repaired_chunks: int
    scrubbed: datetime | None
    access: AccessAnswer | None = None
    last_error: Failure | None = None
    next: NextFill | None = None
    eta: datetime | None = None


class FileAnswer(BaseModel):
    """One file of a model."""

    path: str
    size: int
    filled: int
    sha256: str | None
    verified: bool


class LeftOutAnswer(BaseModel):
    """One file that is not pulled, since it can run code."""

    path: str
    size: int
    why: Hazard


class ModelAnswer(BaseModel):
    """One model of a pipeline, as it was registered and as its origin resolved it."""

    name: str
    source: str
    revision: str | None = None
    include: list[str] | None = None
    exclude: list[str] | None = None
    credentials: str | None = None
    allow_pickle: bool = False
    allow_code: bool = False
    resolved: str | None = None
    files: list[FileAnswer] | None = None
    left_out: list[LeftOutAnswer] | None = None


class PipelineAnswer(BaseModel):
    """One pipeline."""

    id: str
    tenant: str
    models: list[ModelAnswer]
    cache: CacheAnswer


class PipelinesAnswer(BaseModel):
    """Pipelines, without their files."""

    pipelines: list[PipelineAnswer]


class PlanKeyAnswer(BaseModel):
    """What a plan of an engine's rank holds for."""

    checkpoint: str
    engine: str
    version: str
    device: str
    layout: str
    ranks: int
    rank: int
    dtype: str
    quantisation: str


class ReadingPlanAnswer(BaseModel):
    """How one rank of an engine reads a model."""

    digest: str  # of the key
    fingerprint: str  # sha256 of the document
    key: PlanKeyAnswer
    bytes: int
    stored: datetime


class ReadingPlansAnswer(BaseModel):
    """The plans that are kept of a model."""

    plans: list[ReadingPlanAnswer]


class FreedAnswer(BaseModel):
    """Bytes that were given back to the disk."""

    freed: int


class VictimAnswer(BaseModel):
    """A pipeline that would go."""

    id: str
    tenant: str
    size: int
    last_request: datetime | None


class HeldAnswer(BaseModel):
    """Bytes that may not go, by why not."""

    hot: int
    pinned: int
    leased: int
    filling: int


class PlanAnswer(BaseModel):
    """What an eviction would do."""

    need: int
    free: int
    victims: list[VictimAnswer]
    freed: int
    shortfall: int
    held: HeldAnswer


class ScrubPassAnswer(BaseModel):
    """How a pass over the disk ended."""

    pipeline: str | None
    checked: int
    wrong: int
    unrepaired: int
    ended: datetime


class ScrubAnswer(BaseModel):
    """Where the pass over the disk is."""

    running: bool
    pipeline: str | None = None
    checked: int | None = None
    wrong: int | None = None
    unrepaired: int | None = None
    waiting: list[str | None] | None = None
    last: ScrubPassAnswer | None = None


class StatusAnswer(BaseModel):
    """The node's own figures."""

    region: str
    capacity: int
    used: int
    free: int
    disk_free: int
    pipelines: dict[SlotState, int]
    fills: int
    passing_through: int
    origin_streams: int
    leases: int
    origin_bytes: int
    repaired_chunks: int
    lost_files: int
    scrub: ScrubAnswer
    disk_sick: str | None
    draining: bool
    reconciled: bool


class LeaseAnswer(BaseModel):
    """A hold on a generation."""

    id: str
    expires: datetime


class ManifestFileAnswer(BaseModel):
    """One file, with the URLs that carry the right to read it."""

    path: str
    size: int
    sha256: str | None
    git_sha1: str | None = None
    urls: list[str]
    digests: str
    verdict: str


class ManifestModelAnswer(BaseModel):
    """One model of a manifest."""

    source: str
    revision: str
    files: list[ManifestFileAnswer]


class LocalOfferAnswer(BaseModel):
    """Where the node lends descriptors to replicas of its own host."""

    socket: str
    host: str


class ManifestAnswer(BaseModel):
    """A manifest: docs/wire.md says what each field means."""

    wire: int
    pipeline: str
    generation: str
    lease: LeaseAnswer
    chunk_size: int
    ticket_life: int
    models: dict[str, ManifestModelAnswer]
    source: Literal["pass-through"] | None = None
    reason: str | None = None
    local: LocalOfferAnswer | None = None


class PhaseAnswer(BaseModel):
    """One phase of a boot, in seconds."""

    name: str
    start: float
    seconds: float


class BootAnswer(BaseModel):
    """One boot of a replica, as it reported it."""

    pipeline: str
    host: str
    device: str
    start_path: str
    ok: bool
    started: datetime
    phases: list[PhaseAnswer]
    bytes: int
    verified_bytes: int
    local_bytes: int | None = None
    source: Literal["cache", "pass-through", "origin"]
    reason: str | None = None
    notes: list[str] | None = None
    weight_wait: float
    time_to_ready: float
    region: str | None = None


class KeptBootAnswer(BootAnswer):
    """One boot as it is kept."""

    tenant: str
    received: datetime


class BootsAnswer(BaseModel):
    """Boots, the newest first."""

    boots: list[KeptBootAnswer]


class SpreadAnswer(BaseModel):
    """How times of many boots lie, in seconds."""

    p50: float
    p90: float
    p99: float
    max: float


class PhaseSpreadAnswer(SpreadAnswer):
    """How long one phase took."""

    name: str


class RegressionAnswer(BaseModel):
    """Boots that became slower: medians in seconds, and the phase that grew."""

    before: float
    now: float
    phase: str | None
    phase_before: float
    phase_now: float


class GroupAnswer(BaseModel):
    """Figures of boots of one pipeline that took the same path."""

    tenant: str
    pipeline: str
    region: str
    start_path: str
    boots: int
    failed: int
    sources: dict[str, int]
    time_to_ready: SpreadAnswer | None
    weight_wait: SpreadAnswer | None
    phases: list[PhaseSpreadAnswer]
    regression: RegressionAnswer | None


class BootStatsAnswer(BaseModel):
    """Figures of boots."""

    stats: list[GroupAnswer]


class TokenAnswer(BaseModel):
    """A token without its secret."""

    id: str
    tenant: str
    role: Role
    pipelines: list[str] | None
    name: str
    created: datetime
    expires: datetime | None


class S3KeyAnswer(BaseModel):
    """The same token as an S3 client sends it."""

    access_key_id: str
    secret_access_key: str


class NewTokenAnswer(TokenAnswer):
    """A token with its secret, told this once."""

    token: str
    s3: S3KeyAnswer


class TokensAnswer(BaseModel):
    """All tokens."""

    tokens: list[TokenAnswer]


class TicketKeysAnswer(BaseModel):
    """Names of the keys that open tickets; the first one signs."""

    key: str
    accepted: list[str]


class HealthAnswer(BaseModel):
    """That the process runs, or whether it should be sent new work."""

    status: Literal["ok", "ready", "unready"]
    reason: str | None = None
