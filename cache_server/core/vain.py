"""What was asked of a hub in vain lately: not asked again at once, and not without end. Pure.

A replica that starts again and again with a name that is none, or a reader who tries names, would
else have the hub limit the node, and with it the fills of everybody.
"""

from collections import OrderedDict
from typing import NamedTuple

from cache_protocol.errors import (
    BusyError,
    CacheError,
    MalformedError,
    OriginDeniedError,
    OriginNotFoundError,
    UnsafeContentError,
)

# Answers that are not another one in a second: of the hub, and of ours to what it has.
FINAL = (OriginNotFoundError, OriginDeniedError, UnsafeContentError, MalformedError)
WINDOW = 60.0  # seconds that an answer counts; as what is withheld, it is asked for again then
MOST = 60  # answers of one tenant that count


class _No(NamedTuple):
    at: float  # seconds
    tenant: str
    kind: type[CacheError]
    words: str


class VainQuestions:
    """The answers of the last minute. Not locked."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, ...], _No] = OrderedDict()  # the oldest first

    def note(self, question: tuple[str, ...], error: CacheError, now: float) -> None:
        """Remember that ``question``, whose first word is a tenant, was answered by ``error``."""
        self._answers[question] = _No(now, question[0], type(error), str(error))
        self._answers.move_to_end(question)

    def check(self, question: tuple[str, ...], now: float) -> None:
        """Return if ``question`` may be asked at ``now``.

        Raises:
            CacheError: the answer that it has got lately.
            BusyError: its tenant has asked in vain too often.
        """
        self._forget(now)
        if (known := self._answers.get(question)) is not None:
            raise known.kind(known.words)
        vain = sum(each.tenant == question[0] for each in self._answers.values())
        if vain >= MOST:
            raise BusyError(
                f"tenant {question[0]} has asked for {vain} repositories within a minute that are "
                "not there, not for this node or nothing that it serves; come back"
            )

    def _forget(self, now: float) -> None:
        while self._answers and next(iter(self._answers.values())).at <= now - WINDOW:
            self._answers.popitem(last=False)
