"""Whether what is kept of a private or gated repository may still be handed out. Pure.

    resolved ─────────────> confirmed      the hub let us read it, at that moment
    confirmed ── every ───> asked again    in the background: no request waits for it
        yes                 confirmed, now
        no                  withheld: nothing of it is served, its bytes stay on the disk
        no answer           served on, until the last yes is ``grace`` old; then withheld as well

A yes ends it at any time, so a no is asked again soon: hubs say it by mistake, too.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cache_protocol.errors import OriginDeniedError, OriginError, OriginUnavailableError

SOON = timedelta(minutes=1)  # until the next question, after a no and after no answer


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator says."""

    every: timedelta = timedelta(hours=1)  # how old a yes may be before the hub is asked again
    grace: timedelta = timedelta(hours=24)  # how old it may be while the hub does not answer

    @property
    def soon(self) -> timedelta:
        """How long after a question without a yes the next one comes."""
        return min(SOON, self.every)


RULES = Rules()  # where the operator says nothing


@dataclass(frozen=True, slots=True)
class Standing:
    """What the hub said last."""

    confirmed: datetime  # UTC; the last yes
    denied: str | None = None  # its words, where it said no after that

    def refusal(self, what: str, now: datetime, rules: Rules) -> OriginError | None:
        """Return why ``what`` is not handed out at ``now``; None where it is."""
        if self.denied is not None:
            return OriginDeniedError(
                f"{what} may not be read any more, so it is not handed out: {self.denied}; it is "
                f"served again within {_words(rules.soon)} of the origin's consent"
            )
        age = now - self.confirmed
        if age <= rules.grace:
            return None
        return OriginUnavailableError(
            f"nobody has confirmed for {_words(age)} that {what} may still be read, and the limit "
            f"is {_words(rules.grace)} (CACHE_SERVER_ACCESS_GRACE); it is served again once its "
            "origin answers"
        )

    def is_due(self, now: datetime, asked: timedelta | None, rules: Rules) -> bool:
        """Whether the hub has to be asked.

        Args:
            now: UTC.
            asked: how long ago it was asked last, answered or not; None: never by this process.
            rules: the operator's.
        """
        if asked is not None and asked < rules.soon:
            return False
        # A yes from the future: somebody has set the clock, and nobody knows how old it is.
        return self.denied is not None or not timedelta() <= now - self.confirmed < rules.every


def _words(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"
