from datetime import UTC, datetime, timedelta

from cache_protocol.errors import OriginDeniedError, OriginUnavailableError, Retry
from cache_server.core.standing import Rules, Standing

NOW = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
RULES = Rules(every=HOUR, grace=24 * HOUR)


def confirmed(ago: timedelta, denied: str | None = None) -> Standing:
    return Standing(NOW - ago, denied)


def test_a_fresh_yes_is_not_asked_for_again():
    assert not confirmed(HOUR / 2).is_due(NOW, None, RULES)


def test_a_yes_is_asked_for_again_once_it_is_an_interval_old():
    assert confirmed(HOUR).is_due(NOW, None, RULES)


def test_a_question_that_got_no_answer_is_put_again_soon_and_not_at_once():
    old = confirmed(2 * HOUR)
    assert not old.is_due(NOW, timedelta(seconds=59), RULES)
    assert old.is_due(NOW, timedelta(seconds=60), RULES)


def test_a_no_is_asked_for_again_soon_however_fresh_the_yes_before_it_was():
    denied = confirmed(timedelta(), "403")
    assert not denied.is_due(NOW, timedelta(seconds=59), RULES)
    assert denied.is_due(NOW, timedelta(seconds=60), RULES)


def test_a_short_interval_is_kept_also_after_a_no():
    rules = Rules(every=timedelta(seconds=2), grace=HOUR)
    assert confirmed(timedelta(), "403").is_due(NOW, timedelta(seconds=2), rules)


def test_a_yes_from_the_future_is_asked_for_again():
    assert confirmed(-HOUR).is_due(NOW, None, RULES)


def test_an_old_yes_is_served_on_as_long_as_the_limit():
    assert confirmed(24 * HOUR).refusal("voice", NOW, RULES) is None


def test_beyond_the_limit_it_is_withheld_with_the_numbers_and_what_to_do():
    refusal = confirmed(25 * HOUR).refusal("voice", NOW, RULES)
    assert isinstance(refusal, OriginUnavailableError)
    assert refusal.retry is Retry.LATER
    for words in ("25.0 h", "24.0 h", "CACHE_SERVER_ACCESS_GRACE", "voice"):
        assert words in str(refusal)


def test_a_no_withholds_at_once_in_the_words_of_the_hub():
    refusal = confirmed(timedelta(), "you are not in the list").refusal("voice", NOW, RULES)
    assert isinstance(refusal, OriginDeniedError)
    assert "you are not in the list" in str(refusal)
    assert "within 60 s" in str(refusal)
