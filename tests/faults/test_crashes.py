"""A bounded run of what ``scripts/faults`` does for as long as one likes."""

from pathlib import Path

import pytest

from tests.fakes.hub import Hub
from tests.faults.crashes import Rounds

SEED = 20  # any will do; the long run takes another one each time
ROUNDS = 11  # one for every point: some five seconds each


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_whatever_the_moment_of_a_crash_nothing_is_lost_left_over_or_wrong(scratch: Path) -> None:
    with Hub(scratch / "hub") as hub:
        Rounds(scratch, SEED, hub).run(ROUNDS)
