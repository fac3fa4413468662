from datetime import timedelta

import pytest

from cache_protocol.errors import (
    GenerationGoneError,
    OriginDeniedError,
    OriginNotFoundError,
    OriginUnavailableError,
)
from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec
from cache_server.core.standing import Rules
from tests.fakes.origin import MemoryOrigin
from tests.fakes.service import LIMIT, SOURCE, VOICE, Clock, chunks

HOUR, DAY = 3600.0, 24 * 3600.0
RULES = Rules(every=timedelta(hours=1), grace=timedelta(hours=24))
NO = OriginDeniedError("you are not in the list")
DOWN = OriginUnavailableError("503")


@pytest.fixture
def private(node, origin):
    """A node with a warm pipeline of a private repository."""
    origin.restricted = True
    with node(access=RULES) as bench:
        bench.reconciled()
        bench.put()
        assert bench.warm() is None
        yield bench


def ask(bench, *, after: float = HOUR) -> None:
    bench.clock.advance(after)
    bench.service.access.round()


def refused(bench, kind: type[Exception], words: str | None = None) -> None:
    """Check that nobody is given anything of it."""
    assert bench.service.warm_now(VOICE) is None
    assert bench.service.contents.at_hand(VOICE) is None
    with pytest.raises(kind, match=words):
        bench.service.ensure(VOICE).result(LIMIT)


def test_a_private_repository_is_asked_about_once_an_interval(private, origin):
    ask(private, after=HOUR / 2)
    assert origin.checks == 0
    ask(private, after=HOUR / 2)
    ask(private, after=HOUR / 2)
    assert origin.checks == 1


def test_a_hit_asks_the_origin_nothing(private, origin):
    private.clock.advance(10 * HOUR)
    before = origin.resolves, origin.checks, len(origin.requests)
    for _ in range(100):
        private.open()
    assert (origin.resolves, origin.checks, len(origin.requests)) == before


def test_what_everybody_could_read_is_never_asked_about(bench, origin):
    bench.put()
    assert bench.warm() is None
    ask(bench, after=100 * DAY)
    assert origin.checks == 0
    assert bench.open() is not None


def test_a_no_withholds_the_pipeline_in_the_words_of_the_hub(private, origin):
    origin.deny(NO)
    ask(private)
    refused(private, OriginDeniedError, "you are not in the list")


def test_a_private_repository_that_is_not_there_any_more_is_withheld(private, origin):
    origin.deny(OriginNotFoundError("404"))
    ask(private)
    refused(private, OriginDeniedError, "404")


def test_who_reads_loses_what_is_withheld(private, origin):
    generation = private.open()
    lease = private.grant(generation)
    origin.deny(NO)
    ask(private)
    with pytest.raises(GenerationGoneError):
        private.service.library.find(generation.id, "m", "config.json")
    with pytest.raises(GenerationGoneError):
        private.service.renew(lease.id)
    assert private.service.held(lease.id) is None
    assert private.service.library.all() == []


def test_what_is_withheld_stays_on_the_disk_and_is_served_again_after_a_yes(private, origin):
    origin.deny(NO)
    ask(private)
    origin.deny(None)
    pulled = private.pulled
    ask(private, after=60)
    assert private.read("config.json", private.open()) == b"{}"
    assert private.pulled == pulled


def test_a_pipeline_says_why_it_is_withheld_and_since_when_nobody_confirmed_it(private, origin):
    confirmed = private.cache()["access"]["confirmed"]
    origin.deny(NO)
    ask(private)
    cache = private.cache()
    assert cache["access"] == {"confirmed": confirmed, "denied": "you are not in the list"}
    assert cache["last_error"]["code"] == "origin-denied"
    origin.deny(None)
    ask(private, after=60)
    assert private.cache()["access"]["denied"] is None
    assert "last_error" not in private.cache()


def test_a_pipeline_says_since_when_it_is_withheld_and_why_until_that_changes(private, origin):
    origin.deny(DOWN)
    ask(private, after=25 * HOUR)
    since = private.cache()["last_error"]
    ask(private, after=5)
    ask(private, after=60)
    assert private.cache()["last_error"] == since
    origin.deny(NO)
    ask(private, after=60)
    denied = private.cache()["last_error"]
    assert denied["code"] == "origin-denied"
    assert denied["at"] > since["at"]


def test_while_the_hub_is_down_it_is_served_on_up_to_the_limit(private, origin):
    origin.deny(DOWN)
    for _ in range(23):
        ask(private)
        assert private.open() is not None
    ask(private, after=2 * HOUR)
    refused(private, OriginUnavailableError, "CACHE_SERVER_ACCESS_GRACE")


def test_the_limit_holds_also_while_nobody_has_had_time_to_ask(private):
    private.clock.advance(25 * HOUR)
    refused(private, OriginUnavailableError)


def test_a_hub_that_is_back_brings_it_back(private, origin):
    origin.deny(DOWN)
    ask(private, after=25 * HOUR)
    origin.deny(None)
    ask(private, after=60)
    assert private.open() is not None


def test_a_hub_that_does_not_answer_is_asked_again_soon(private, origin):
    origin.fail_check(DOWN)
    ask(private)
    ask(private, after=59)
    assert origin.checks == 1
    ask(private, after=1)
    assert origin.checks == 2


def test_a_no_outlives_a_restart(node, origin):
    clock = filled(node, origin, lambda: origin.deny(NO))
    with node(access=RULES, clock=clock) as bench:
        bench.reconciled()
        refused(bench, OriginDeniedError, "you are not in the list")


def test_a_restart_makes_no_old_yes_younger(node, origin):
    clock = filled(node, origin, lambda: None)
    clock.advance(25 * HOUR)
    with node(access=RULES, clock=clock) as bench:
        bench.reconciled()
        refused(bench, OriginUnavailableError)
        bench.service.access.round()
        assert bench.open() is not None


def filled(node, origin, change) -> Clock:
    """Have a node pull a private repository, ask once more after ``change``, and end."""
    origin.restricted = True
    with node(access=RULES) as bench:
        bench.reconciled()
        bench.put()
        assert bench.warm() is None
        change()
        ask(bench)
        return bench.clock


def test_a_refresh_that_the_hub_answers_is_a_yes(private, origin):
    origin.fail_check(NO)
    ask(private)
    assert private.warm(refresh=True) is None
    assert private.open() is not None


def test_an_evicted_pipeline_is_asked_about_no_more(private, origin):
    private.service.removal.evict(VOICE, force=False)
    ask(private)
    assert origin.checks == 0


def test_pipelines_of_one_repository_share_an_answer(private, origin):
    other = Key("default", "other")
    private.put(ModelSpec("n", SOURCE), key=other)
    assert private.warm(other) is None
    ask(private)
    assert origin.checks == 1


def test_one_repository_that_is_taken_away_takes_its_whole_pipeline_along(node, origin):
    public = MemoryOrigin({"w.dat": chunks(0.1)})
    with node({"file:///public": public}, access=RULES) as bench:
        bench.reconciled()
        origin.restricted = True
        bench.put(ModelSpec("m", SOURCE), ModelSpec("p", "file:///public"))
        assert bench.warm() is None
        origin.deny(NO)
        ask(bench)
        refused(bench, OriginDeniedError)
    assert public.checks == 0


def test_a_source_that_may_not_even_be_asked_is_served_as_if_the_hub_were_down(private):
    private.origins.refusal = OriginDeniedError("tenant default may not use it")
    ask(private)
    assert private.open() is not None
    ask(private, after=DAY)
    refused(private, OriginUnavailableError)


def test_a_disk_that_takes_no_note_does_not_end_the_watch(private, origin, monkeypatch):
    directory = private.open().directory
    monkeypatch.setattr(private.open(), "directory", directory / "gone")
    origin.deny(NO)
    ask(private)
    refused(private, OriginDeniedError)
