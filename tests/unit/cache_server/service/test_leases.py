from datetime import timedelta

import pytest

from cache_protocol.errors import GenerationGoneError
from cache_server.catalogue.registry import Key
from cache_server.service.leases import Leases
from tests.fakes.service import VOICE, Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def leases(clock):
    return Leases(clock.now, clock.monotonic)


def test_a_lease_holds_for_two_minutes(leases, clock):
    lease = leases.grant(VOICE, "g")
    assert lease.expires == clock.now() + timedelta(seconds=120)
    clock.advance(119)
    assert leases.held() == {"g"}
    clock.advance(1)
    assert leases.held() == set()


def test_a_renewed_lease_holds_for_another_term(leases, clock):
    lease = leases.grant(VOICE, "g")
    clock.advance(100)
    assert leases.renew(lease.id).expires == clock.now() + timedelta(seconds=120)
    clock.advance(100)
    assert leases.readers(VOICE) == 1


def test_a_lease_that_ran_out_cannot_be_renewed(leases, clock):
    lease = leases.grant(VOICE, "g")
    clock.advance(120)
    with pytest.raises(GenerationGoneError, match="run out"):
        leases.renew(lease.id)


def test_a_lease_that_was_given_back_holds_nothing_and_can_be_given_back_again(leases):
    lease = leases.grant(VOICE, "g")
    leases.give_back(lease.id)
    leases.give_back(lease.id)
    assert (leases.readers(VOICE), leases.held(), leases.count) == (0, set(), 0)


def test_every_reader_has_a_lease_of_its_own(leases):
    assert len({leases.grant(VOICE, "g").id for _ in range(10)}) == leases.count == 10


def test_ending_a_pipelines_leases_leaves_those_of_others(leases):
    leases.grant(VOICE, "g")
    leases.grant(Key("default", "other"), "h")
    leases.end(VOICE)
    assert leases.held() == {"h"}


def test_a_lease_nobody_granted_cannot_be_renewed(leases):
    with pytest.raises(GenerationGoneError):
        leases.renew("invented")


def test_a_renewed_lease_outlives_younger_ones(leases, clock):
    old, young = leases.grant(VOICE, "g"), leases.grant(VOICE, "h")
    clock.advance(60)
    leases.renew(old.id)
    clock.advance(60)
    assert leases.holder(young.id) is None
    assert leases.held() == {"g"}
