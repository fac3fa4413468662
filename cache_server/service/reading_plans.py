"""Plans of how ranks of engines read what is kept: taken from replicas, given to the next ones.

A plan is a prediction that its engine checks, so that a wrong one costs time and no weight. Here
it is held against its bounds and the files that it is about, and against nothing else.
"""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from cache_protocol.errors import (
    DiskError,
    GenerationGoneError,
    MalformedError,
    PlanRefusedError,
    UnknownPlanError,
)
from cache_protocol.manifest import File, Model
from cache_protocol.names import shown
from cache_protocol.plans import Key as PlanKey
from cache_protocol.plans import Plan, check_files, checkpoint_digest, dump_plan, parse_plan
from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelContent
from cache_server.service.disk_watch import DiskWatch
from cache_server.store.generation import Generation
from cache_server.store.plan_index import Record

_DIGEST = re.compile(r"[0-9a-f]{32}")


class ReadingPlans:
    """The plans of every pipeline. Safe for threads."""

    def __init__(
        self,
        kept: Callable[[Key], Generation | None],
        disk: DiskWatch,
        now: Callable[[], datetime],
    ) -> None:
        """Take the parts.

        Args:
            kept: what is on disk of a pipeline; raises for one that is not there.
            disk: refuses while it is sick.
            now: UTC.
        """
        self._kept = kept
        self._disk = disk
        self._now = now
        # One at a time: the interpreter is no faster with several, and each takes its memory.
        self._parsing = threading.Lock()

    def check(self) -> None:
        """Return while the disk is well; SickDiskError otherwise. Asks no disk."""
        self._disk.check()

    def all(self, key: Key, model: str) -> list[Record]:
        """Return the plans of ``model`` that are of its weights as they are now.

        Raises:
            UnknownPipelineError: there is no such pipeline.
            UnknownPlanError: it has no such model.
            OriginError: what is kept may not be read any more.
            DiskError: the disk is sick, or refused.
        """
        self.check()
        generation = self._kept(key)
        if generation is None:
            return []
        checkpoint = _checkpoint(generation, model)
        return [r for r in generation.plans.all(model) if r.key.checkpoint == checkpoint]

    def read(self, key: Key, model: str, digest: str) -> bytes:
        """Return the document of one plan.

        Raises as ``all``, and UnknownPlanError where there is none.
        """
        self.check()
        generation = self._kept(key)
        if generation is not None:
            _content(generation, model)  # so that no name leads to another directory
            lawful = _DIGEST.fullmatch(digest) is not None
            document = generation.plans.read(model, digest) if lawful else None
            if document is not None:
                return document
        raise UnknownPlanError(f"nothing is kept under {shown(digest)} for {shown(model)}")

    def put(self, key: Key, model: str, digest: str, document: bytes) -> None:
        """Keep a plan, in the place of another of the same key.

        Raises:
            MalformedError: it is no plan, of other files, or its key has not ``digest``.
            PlanRefusedError: nothing is kept of its weights, or it takes too much room.
            CapacityError: the disk is full.
            GenerationGoneError: what is kept leaves in this moment.
        Otherwise as ``all``.
        """
        self.check()
        generation = self._kept(key)
        if generation is None:
            raise PlanRefusedError(
                f"nothing is kept of {key.id}: its bytes pass through, or are not here; a plan "
                "is kept with weights, and goes with them"
            )
        _content(generation, model)
        with self._parsing:
            name, kept = _taken(generation, model, digest, document)
        try:
            generation.plans.write(model, name, kept, self._now())
        except DiskError as error:
            if generation.progress.gone:
                raise GenerationGoneError(f"{key.id} is being given up") from error
            self._disk.noticed(error)
            raise


def _taken(
    generation: Generation, model: str, digest: str, document: bytes
) -> tuple[PlanKey, bytes]:
    """Return what is kept of ``document``, and under which key; raises as ``put``."""
    plan = _judged(generation, model, digest, parse_plan(document))
    return plan.key, dump_plan(plan)


def _judged(generation: Generation, model: str, digest: str, plan: Plan) -> Plan:
    """Return ``plan`` as it is kept: by the name that its weights have now."""
    if plan.key.digest != digest:
        raise MalformedError(
            f"the plan's key has the digest {plan.key.digest}, not {shown(digest)}"
        )
    files = _content(generation, model).files
    check_files(plan, ((file.path, file.size) for file in files))
    now = _checkpoint(generation, model)
    # Who asked before the first byte had come was told of fewer sha256s.
    if plan.key.checkpoint not in (now, _checkpoint(generation, model, confirmed=False)):
        raise PlanRefusedError(
            f"the plan is of a checkpoint {shown(plan.key.checkpoint)}; kept of {shown(model)} "
            f"is {now}"
        )
    return replace(plan, key=replace(plan.key, checkpoint=now))


def _checkpoint(generation: Generation, model: str, *, confirmed: bool = True) -> str:
    """Return what stands for the weights of ``model``, as a manifest of now would have it."""
    _content(generation, model)
    files = tuple(_files(generation, model, confirmed=confirmed))
    return checkpoint_digest(Model("", "", files), generation.id)


def _files(generation: Generation, model: str, *, confirmed: bool) -> Iterator[File]:
    for file in generation.files:
        if file.model == model:
            found = file.sha256 if confirmed else None
            sha256 = file.origin.sha256 if found is None else found.hex()
            yield File(file.origin.path, file.size, sha256, (), "", "")


def _content(generation: Generation, model: str) -> ModelContent:
    """Return ``model`` of ``generation``; UnknownPlanError where it has none of the name."""
    for content in generation.content.models:
        if content.name == model:
            return content
    raise UnknownPlanError(f"{generation.content.pipeline} has no model {shown(model)}")
