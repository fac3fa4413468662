"""What was asked in vain: for how long that counts, and for whom."""

import pytest

from cache_protocol.errors import OriginDeniedError
from cache_server.core.vain import WINDOW, VainQuestions


def test_an_answer_counts_for_a_minute_and_in_its_own_words():
    vain = VainQuestions()
    vain.note(("team", "org/a"), OriginDeniedError("gated"), 0.0)
    with pytest.raises(OriginDeniedError, match="gated"):
        vain.check(("team", "org/a"), WINDOW - 1)
    vain.check(("team", "org/a"), WINDOW)


def test_what_one_tenant_was_told_says_nothing_to_another():
    vain = VainQuestions()
    vain.note(("team", "org/a"), OriginDeniedError("gated"), 0.0)
    vain.check(("other", "org/a"), 1.0)
