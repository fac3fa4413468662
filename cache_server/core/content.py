"""What a generation consists of: resolved once, immutable, the same words on disk and in memory."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import translate
from typing import Any

from cache_protocol.errors import MalformedError, OriginNotFoundError
from cache_protocol.formats import Hazard, check_weights, left_out
from cache_protocol.manifest import MAX_FILE_SIZE, MAX_FILES
from cache_protocol.names import check_paths, shown


@dataclass(frozen=True, slots=True)
class OriginFile:
    """One file as its origin announced it."""

    path: str
    size: int  # bytes
    tag: str  # pins the content at the origin: commit, ETag, version id or mtime; opaque
    sha256: str | None = None  # hex, where the origin knows it
    git_sha1: str | None = None  # hex, git blob id, where the origin knows that instead


@dataclass(frozen=True, slots=True)
class Listing:
    """What an origin holds at one fixed revision."""

    revision: str  # commit, or a digest of the listing: never a moving name
    files: tuple[OriginFile, ...]
    restricted: bool = False  # not everybody may read it: private or gated


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model as the operator registered it."""

    name: str
    source: str
    revision: str | None = None
    include: tuple[str, ...] = ()  # globs over the whole path; empty means everything
    exclude: tuple[str, ...] = ()
    credentials: str | None = None  # the name of a secret, never the secret
    allow_pickle: bool = False  # weights that run their author's code when they are loaded
    allow_code: bool = False  # the repository's own code

    @property
    def allow(self) -> frozenset[Hazard]:
        """What its owner allows."""
        given = {Hazard.PICKLE: self.allow_pickle, Hazard.CODE: self.allow_code}
        return frozenset(each for each, yes in given.items() if yes)

    def words(self) -> dict[str, Any]:
        """Return it as JSON values, without what nobody allowed.

        So a registration from before these switches reads, and is digested, as it was.
        """
        return {k: v for k, v in asdict(self).items() if v is not False}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file of the origin that stays there, because of what it can do."""

    path: str  # unchecked: to be shown, never to be opened
    size: int  # bytes
    why: Hazard


@dataclass(frozen=True, slots=True)
class ModelContent:
    """One model, resolved."""

    name: str
    source: str  # without its revision
    revision: str
    credentials: str | None
    files: tuple[OriginFile, ...]
    left_out: tuple[LeftOut, ...] = ()  # for people; follows from the revision and the spec
    # Whether not everybody might read it when it was resolved; None: resolved by a version that
    # did not ask.
    restricted: bool | None = False

    @property
    def may_be_restricted(self) -> bool:
        """Whether its repository is to be asked now and then if it may still be read."""
        unknown = self.restricted is None and self.source.startswith("hf://")
        return unknown or bool(self.restricted)


@dataclass(frozen=True, slots=True)
class Content:
    """All models of one pipeline, resolved: what a generation is made of."""

    tenant: str
    pipeline: str
    models: tuple[ModelContent, ...]
    spec: str = ""  # digest of the registration that was resolved to this

    @property
    def generation(self) -> str:
        """The id: 32 hex digits over everything above.

        Tenant and pipeline go in, so that equal content of two pipelines has two ids and is
        never shared. What was left out is no content, and who may read it is none either.
        """
        fields = asdict(self)
        for model in fields["models"]:
            del model["left_out"], model["restricted"]
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]

    @property
    def restricted(self) -> bool:
        """Whether not everybody may read all of it; also where nobody knows."""
        return any(model.may_be_restricted for model in self.models)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(f.size for _, f in self.files())

    def files(self) -> Iterator[tuple[ModelContent, OriginFile]]:
        """Yield ``(model, file)`` in order."""
        for model in self.models:
            for file in model.files:
                yield model, file


def select(spec: ModelSpec, listing: Listing) -> ModelContent:
    """Return the files of ``listing`` that ``spec`` wants, small ones first.

    Small files first, because an engine cannot start without config and tokenizer; weights in
    the order of their names, because that is the order engines read them in. Pickles and code
    are left out, and listed, unless the spec allows them.

    Raises:
        OriginNotFoundError: nothing of it is wanted.
        UnsafeContentError: all weights that are wanted are pickles, and those are not allowed.
        MalformedError: a name that is unsafe as a path, or a size or count out of bounds.
    """
    wants = _wanting(spec)
    wanted = [f for f in listing.files if wants(f.path)]
    if not wanted:
        raise OriginNotFoundError(
            f"{spec.source} at {listing.revision} has {len(listing.files)} files and none that "
            f"include {list(spec.include) or ['*']} and exclude {list(spec.exclude)} leave"
        )
    if len(wanted) > MAX_FILES:
        raise MalformedError(f"{spec.source} has {len(wanted)} files, above {MAX_FILES}")
    kept, out = _sift(spec, wanted)
    where = f"{spec.source} at {listing.revision}"
    check_weights(where, {f.path: f.size for f in kept}, {o.path: o.size for o in out}, "allow_{}")
    check_paths(f.path for f in kept)
    for file in kept:
        if not 0 <= file.size <= MAX_FILE_SIZE:
            raise MalformedError(
                f"{shown(file.path)} has {file.size} bytes, not within 0 and {MAX_FILE_SIZE}"
            )
    kept.sort(key=lambda f: (f.path.endswith(".safetensors"), f.path))
    source = spec.source.partition("@")[0] if spec.source.startswith("hf://") else spec.source
    return ModelContent(
        spec.name,
        source,
        listing.revision,
        spec.credentials,
        tuple(kept),
        tuple(out),
        listing.restricted,
    )


def is_lawful(content: Content, models: Sequence[ModelSpec]) -> bool:
    """Return whether ``content`` holds nothing that ``models`` do not allow.

    What a version resolved that knew no such rule may, and is resolved again.
    """
    allow = {spec.name: spec.allow for spec in models}
    return not any(left_out(f.path, allow.get(m.name, ())) for m, f in content.files())


def _sift(spec: ModelSpec, wanted: Sequence[OriginFile]) -> tuple[list[OriginFile], list[LeftOut]]:
    kept: list[OriginFile] = []
    out: list[LeftOut] = []
    for file in sorted(wanted, key=lambda f: f.path):
        if (why := left_out(file.path, spec.allow)) is None:
            kept.append(file)
        else:
            out.append(LeftOut(file.path, file.size, why))
    return kept, out


def _wanting(spec: ModelSpec) -> Callable[[str], bool]:
    """Return whether ``spec`` wants a path, for many paths.

    Made once: ``fnmatch`` remembers 256 globs of all models, and would make those of two that
    have many anew for every file.
    """
    included, excluded = _any_of(spec.include or ("*",)), _any_of(spec.exclude)
    return lambda path: included(path) is not None and excluded(path) is None


def _any_of(globs: Iterable[str]) -> Callable[[str], object]:
    return re.compile("|".join(map(translate, globs)) or "(?!)").match


def dump_content(content: Content) -> dict[str, Any]:
    """Return ``content`` as JSON values."""
    return asdict(content)


def load_content(fields: Mapping[str, Any]) -> Content:
    """Return the content that ``dump_content`` wrote; KeyError or TypeError when it did not."""
    return Content(
        tenant=fields["tenant"],
        pipeline=fields["pipeline"],
        models=tuple(_load_model(m) for m in fields["models"]),
        spec=fields["spec"],
    )


def _load_model(fields: Mapping[str, Any]) -> ModelContent:
    files: Sequence[Mapping[str, Any]] = fields["files"]
    return ModelContent(
        name=fields["name"],
        source=fields["source"],
        revision=fields["revision"],
        credentials=fields["credentials"],
        files=tuple(OriginFile(**f) for f in files),
        left_out=tuple(_load_left_out(o) for o in fields.get("left_out", ())),
        restricted=fields.get("restricted"),
    )


def _load_left_out(fields: Mapping[str, Any]) -> LeftOut:
    return LeftOut(fields["path"], fields["size"], Hazard(fields["why"]))
