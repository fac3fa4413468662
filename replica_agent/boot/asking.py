"""Ask the node for plans, for no longer than they can be worth.

    node's time   from each question to its answer: PATIENCE, and a share of the pull, in all
    our time      to read what came: bounded by its size, which the node lists beforehand

A model with experts has hundreds of thousands of pieces a rank. To read eight such plans takes
longer than PATIENCE, and none of that is the node's.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from cache_protocol.errors import CacheError, MalformedError
from cache_protocol.manifest import Manifest, Model
from cache_protocol.plans import Plan, check_files, checkpoint_digest, parse_plan
from cache_protocol.units import show_size
from replica_agent.boot.expected import UntoldError
from replica_agent.client import ControlClient, Listed

PATIENCE = 1.0  # seconds for all that is asked of the node; plain files cost less than waiting
# And what a hundredth of the pull takes at 10 Gbit/s: a model of 500 GB has 40 000 pieces a rank.
SHARE = 0.01 / 1.25e9  # seconds a byte
# Bytes of one model's plans: two to four seconds, at 0.06 to 0.12 µs a byte; of forged ones ten.
# Eight ranks of the largest models with experts have 29 MB.
MAX_READ = 32 * 2**20
_SUFFIX = ".safetensors"


class Patience:
    """The time that the node has for all questions of one boot. For one thread."""

    def __init__(self, size: int) -> None:
        """Have patience as a pull of ``size`` bytes is worth it."""
        self._allowed = PATIENCE + size * SHARE  # seconds
        self._spent = 0.0

    @contextmanager
    def question(self) -> Iterator[float]:
        """Yield the seconds that an answer may take; CacheError where there are none left."""
        left = self._allowed - self._spent
        if left <= 0:
            raise CacheError(
                f"the node took {self._spent:.1f} s to list and send plans, more than the "
                f"{self._allowed:.1f} s that this pull has for it"
            )
        began = time.monotonic()
        try:
            yield left
        finally:
            self._spent += time.monotonic() - began


class Asking(NamedTuple):
    """What is asked about one model."""

    client: ControlClient
    manifest: Manifest
    name: str
    patience: Patience

    @property
    def model(self) -> Model:
        """What plans are asked for."""
        return self.manifest.models[self.name]

    @property
    def checkpoint(self) -> str:
        """Its digest, as keys have it."""
        return checkpoint_digest(self.model, self.manifest.generation)

    def listed(self) -> list[Listed]:
        """Return what there is; raises CacheError."""
        with self.patience.question() as left:
            return self.client.listed_plans(self.manifest.pipeline, self.name, left)

    def plans(self, found: Sequence[Listed]) -> list[Plan]:
        """Return the plans of ``found``, one a rank.

        Raises:
            UntoldError: they would take too long to read; nothing was asked for.
            CacheError: the node, or what it sent.
        """
        size = sum(each.size for each in found)
        if size > MAX_READ:
            raise UntoldError(
                f"the plans of {len(found)} ranks have {size} bytes ({show_size(size)}), more than "
                f"the {MAX_READ} that are read before a pull"
            )
        return [self._plan(each) for each in found]

    def _plan(self, listed: Listed) -> Plan:
        with self.patience.question() as left:
            pipeline, digest = self.manifest.pipeline, listed.key.digest
            document = self.client.plan_document(pipeline, self.name, digest, listed.size, left)
        plan = parse_plan(document)
        _check(plan, listed, self.model)
        return plan


def _check(plan: Plan, listed: Listed, model: Model) -> None:
    """Raise MalformedError unless ``plan`` can be followed.

    It may be forged. What an engine reads before it compares plans must come whole.
    """
    check_files(plan, [(file.path, file.size) for file in model.files])
    if plan.key != listed.key:
        raise MalformedError("the node gave the plan of another key")
    for file in plan.files:
        if not file.path.endswith(_SUFFIX):
            raise MalformedError(f"a plan is about {file.path}, which holds no weights")
