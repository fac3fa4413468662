"""Pipelines that come by themselves: who may have them, what is kept, what goes for them."""

import threading
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from cache_protocol.errors import (
    BusyError,
    ForbiddenError,
    MalformedError,
    OriginNotFoundError,
    OriginUnavailableError,
    QuotaError,
    UnsafeContentError,
)
from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec
from cache_server.core.on_demand import pipeline_of, wanted
from cache_server.core.tenants import Quotas, Tenant, parse_place
from cache_server.doors.on_demand import OnDemand, Wish
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import LIMIT, running_service

WISH = Wish("team", "org/name", "main")
TEAM = Tenant("team", origins=(parse_place("hf://org/*"),), on_demand=True)


def new_origins():
    return MemoryOrigins(
        {f"hf://org/{n}": MemoryOrigin({"config.json": b"{}"}) for n in ("name", "a", "b", "c")}
    )


@contextmanager
def registering(directory, origins, *, tenant=TEAM, quotas=Quotas(), clock=None, most=1000):  # noqa: B008 - frozen
    with running_service(directory, origins, quotas=lambda _: quotas, clock=clock) as bench:
        bench.reconciled()

        def check(models, _terms):
            for spec in models:
                tenant.check(spec)

        bench.on_demand = OnDemand(
            bench.service, lambda _: tenant.on_demand, check, origins, most=most
        )
        yield bench
        bench.on_demand.close()


@pytest.fixture
def origins():
    return new_origins()


@pytest.fixture
def bench(tmp_path, origins, quick_retries):
    with registering(tmp_path / "root", origins) as bench:
        yield bench


def ask(bench, wish=WISH) -> Key:
    return bench.on_demand.ask(wish).result(LIMIT)


def registered(bench) -> set[str]:
    return {glance.key.id for glance in bench.service.figures.glances("team")}


def test_the_first_question_registers_a_pipeline_with_the_repository_at_that_revision(bench):
    key = ask(bench)
    assert key == Key("team", pipeline_of("org/name", "main"))
    assert bench.service.contents.specs(key) == (wanted("org/name", "main"),)


def test_the_hub_is_asked_once_for_what_the_repository_has(bench, origins):
    key = ask(bench)
    bench.open(key)
    assert bench.settle(key) is None
    assert bench.cache(key)["warm"]
    assert origins.origins["hf://org/name"].resolves == 1


def test_what_is_registered_is_found_without_asking_anybody(bench, origins):
    assert bench.on_demand.known(WISH) is None
    key = ask(bench)
    opened = len(origins.opened)
    assert bench.on_demand.known(WISH) == key
    assert len(origins.opened) == opened


def test_everybody_who_asks_meanwhile_shares_one_answer(bench, origins):
    origin = origins.origins["hf://org/name"]
    gate, asked = threading.Event(), threading.Event()
    resolve = origin.resolve

    def held():
        asked.set()
        gate.wait(LIMIT)
        return resolve()

    origin.resolve = held
    first = bench.on_demand.ask(WISH)
    assert asked.wait(LIMIT)
    others = [bench.on_demand.ask(WISH) for _ in range(10)]
    gate.set()
    assert {future.result(LIMIT) for future in (first, *others)} == {WISH.key}
    assert all(other is first for other in others)


def test_a_client_that_has_learnt_the_commit_goes_on_in_the_slot_of_the_branch(bench):
    key = ask(bench)
    commit = bench.open(key).content.models[0].revision
    assert ask(bench, WISH._replace(revision=commit)) == key
    assert bench.on_demand.known(WISH._replace(revision=commit)) == key
    assert registered(bench) == {key.id}


def test_what_comes_while_somebody_looks_through_what_came_is_not_forgotten(bench, monkeypatch):
    ask(bench)
    specs, between = bench.service.contents.specs, [WISH._replace(repository="org/a")]

    def specs_after_another(key):
        if between and key == WISH.key:
            ask(bench, between.pop())
        return specs(key)

    monkeypatch.setattr(bench.service.contents, "specs", specs_after_another)
    ask(bench, WISH._replace(revision="0" * 40))  # a commit is looked for among what came
    monkeypatch.undo()
    assert not between
    other = WISH._replace(repository="org/a")
    commit = bench.open(other.key).content.models[0].revision
    assert ask(bench, other._replace(revision=commit)) == other.key


def test_a_commit_that_nobody_has_gets_a_pipeline_of_its_own(bench):
    key = ask(bench)
    bench.open(key)
    other = WISH._replace(revision="0" * 40)
    assert ask(bench, other) == other.key
    assert registered(bench) == {key.id, other.key.id}


def test_nothing_is_written_down_of_a_repository_that_is_not_there(bench, origins):
    origins.origins["hf://org/name"].deny(OriginNotFoundError("404"))
    with pytest.raises(OriginNotFoundError):
        ask(bench)
    assert registered(bench) == set()


def test_nothing_is_written_down_while_the_hub_is_silent(bench, origins):
    origins.origins["hf://org/name"].deny(OriginUnavailableError("503"))
    with pytest.raises(OriginUnavailableError):
        ask(bench)
    assert registered(bench) == set()


def test_a_failed_question_is_asked_afresh_the_next_time(bench, origins):
    origins.origins["hf://org/name"].fail_resolve(OriginUnavailableError("503"))
    with pytest.raises(OriginUnavailableError):
        ask(bench)
    assert ask(bench) == WISH.key


def test_a_repository_with_pickles_alone_is_not_registered(bench, origins):
    origins.origins["hf://org/name"].files = {"pytorch_model.bin": b"x"}
    with pytest.raises(UnsafeContentError):
        ask(bench)
    assert registered(bench) == set()


def test_a_tenant_whose_file_does_not_say_so_gets_nothing(tmp_path, origins):
    tenant = Tenant("team", origins=TEAM.origins)
    with (
        registering(tmp_path / "root", origins, tenant=tenant) as bench,
        pytest.raises(ForbiddenError, match="'on_demand: true'"),
    ):
        ask(bench)
    assert origins.opened == []


def test_a_repository_that_is_not_listed_for_the_tenant_is_not_even_asked_for(bench, origins):
    with pytest.raises(ForbiddenError, match="may not use 'hf://other/name'"):
        ask(bench, WISH._replace(repository="other/name"))
    assert origins.opened == []


@pytest.mark.parametrize("repository", ["org/../name", "org/name@v", "a/b/c", "", "org/na me"])
def test_what_can_be_no_repository_is_refused(bench, origins, repository):
    with pytest.raises(MalformedError):
        ask(bench, WISH._replace(repository=repository))
    assert origins.opened == []


@pytest.mark.parametrize("revision", ["", "a b", "x@y", "v" * 256, "a\x00"])
def test_what_can_be_no_revision_is_refused(bench, origins, revision):
    with pytest.raises(MalformedError):
        ask(bench, WISH._replace(revision=revision))
    assert origins.opened == []


def test_the_quota_of_pipelines_counts(tmp_path, origins):
    with registering(tmp_path / "root", origins, quotas=Quotas(pipelines=1)) as bench:
        bench.put(ModelSpec("m", "hf://org/a"), key=Key("team", "put"))
        with pytest.raises(QuotaError, match="1 pipelines"):
            ask(bench)


def test_at_the_quota_the_one_that_was_asked_for_the_longest_ago_goes(tmp_path, origins):
    with registering(tmp_path / "root", origins, quotas=Quotas(pipelines=2)) as bench:
        first, second = (ask(bench, WISH._replace(repository=f"org/{n}")) for n in "ab")
        for key in (second, first):
            bench.open(key)
            assert bench.settle(key) is None
            bench.clock.advance(60)
        bench.clock.advance(49 * 3600)
        third = ask(bench, WISH._replace(repository="org/c"))
        assert registered(bench) == {first.id, third.id}


def test_what_is_hot_or_was_put_by_somebody_stays(tmp_path, origins):
    with registering(tmp_path / "root", origins, quotas=Quotas(pipelines=2)) as bench:
        bench.put(ModelSpec("m", "hf://org/a"), key=Key("team", "put"))
        hot = ask(bench, WISH._replace(repository="org/b"))
        bench.open(hot)
        bench.settle(hot)
        with pytest.raises(QuotaError):
            ask(bench)
        assert registered(bench) == {"put", hot.id}


def test_without_a_quota_a_tenant_has_a_bounded_number_of_them(tmp_path, origins):
    with registering(tmp_path / "root", origins, most=1) as bench:
        ask(bench, WISH._replace(repository="org/a"))
        kept = ask(bench, WISH._replace(repository="org/b"))
        assert registered(bench) == {kept.id}


def test_of_those_that_a_bad_disk_let_in_there_is_a_bounded_number_too(tmp_path, origins):
    with registering(tmp_path / "root", origins, most=1) as bench:
        (bench.root.slots / "team").write_bytes(b"")  # where their directories should be
        ask(bench, WISH._replace(repository="org/a"))
        kept = ask(bench, WISH._replace(repository="org/b"))
        assert registered(bench) == {kept.id}


def test_a_restart_forgets_none_of_them(tmp_path, origins):
    with registering(tmp_path / "root", origins) as bench:
        key = ask(bench)
        commit = bench.open(key).content.models[0].revision
        assert bench.settle(key) is None
    with registering(tmp_path / "root", new_origins()) as bench:
        assert bench.on_demand.known(WISH) == key
        assert ask(bench, WISH._replace(revision=commit)) == key


def test_an_id_that_somebody_has_put_otherwise_is_left_alone(bench):
    bench.put(ModelSpec("m", "hf://org/a"), key=WISH.key)
    with pytest.raises(MalformedError, match="is taken"):
        ask(bench)
    assert bench.service.contents.specs(WISH.key) == (ModelSpec("m", "hf://org/a"),)


@pytest.mark.parametrize("bound", ["WAITING", "OF_ONE"])
def test_too_many_first_questions_are_told_to_come_back(bench, monkeypatch, bound):
    monkeypatch.setattr(f"cache_server.doors.on_demand.{bound}", 1)
    bench.on_demand._asked[WISH] = Future()
    with pytest.raises(BusyError, match="1 repositories are being looked up"):
        ask(bench, WISH._replace(repository="org/a"))
    assert bench.on_demand.ask(WISH) is bench.on_demand._asked[WISH]


def test_what_the_hub_has_refused_is_not_asked_again_for_a_minute(bench, origins):
    origins.origins["hf://org/a"].deny(OriginNotFoundError("RepoNotFound"))
    for _ in range(3):
        with pytest.raises(OriginNotFoundError, match="RepoNotFound"):
            ask(bench, WISH._replace(repository="org/a"))
    assert len(origins.opened) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [("pytorch_model.bin", UnsafeContentError), ("../config.json", MalformedError)],
)
def test_nor_is_what_it_has_in_no_form_that_is_served(bench, origins, name, kind):
    origins.origins["hf://org/a"].files = {name: b"x"}
    for _ in range(3):
        with pytest.raises(kind):
            ask(bench, WISH._replace(repository="org/a"))
    assert len(origins.opened) == 1


def test_a_taken_id_is_no_answer_of_the_hub(bench, origins):
    bench.put(ModelSpec("m", "hf://org/a"), key=WISH.key)
    with pytest.raises(MalformedError, match="is taken"):
        ask(bench)
    bench.service.removal.remove(WISH.key, force=False)
    assert ask(bench) == WISH.key


def test_a_reader_who_tries_names_is_told_to_come_back_and_others_are_not(
    bench, origins, monkeypatch
):
    monkeypatch.setattr("cache_server.core.vain.MOST", 2)
    for name in ("a", "b"):
        origins.origins[f"hf://org/{name}"].deny(OriginNotFoundError("RepoNotFound"))
        with pytest.raises(OriginNotFoundError):
            ask(bench, WISH._replace(repository=f"org/{name}"))
    with pytest.raises(BusyError, match="tenant team has asked for 2 repositories"):
        ask(bench)
    assert ask(bench, WISH._replace(tenant="other")).tenant == "other"


def test_a_tenant_that_asks_for_much_leaves_places_to_others(bench, monkeypatch):
    monkeypatch.setattr("cache_server.doors.on_demand.OF_ONE", 1)
    bench.on_demand._asked[WISH._replace(tenant="greedy")] = Future()
    assert ask(bench) == WISH.key
