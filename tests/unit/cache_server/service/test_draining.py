"""A service that drains takes nothing new and keeps what is read."""

import pytest

from cache_protocol.errors import DrainingError
from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec
from cache_server.fill.fill import FillStoppedError
from tests.fakes.service import SOURCE, VOICE


def test_a_service_that_drains_gives_no_lease_and_begins_no_fill(bench):
    bench.put()
    assert bench.warm() is None
    generation = bench.open()
    bench.service.drain()
    assert bench.service.unready.startswith("draining")
    assert bench.service.warm_now(VOICE) is None
    for refused in (
        lambda: bench.service.ensure(VOICE),
        lambda: bench.service.grant(VOICE, generation),
        lambda: bench.service.warm(VOICE, refresh=True),
    ):
        with pytest.raises(DrainingError, match="being stopped"):
            refused()


def test_a_lease_is_renewed_while_a_service_drains(bench):
    bench.put()
    lease = bench.grant(bench.open())
    bench.service.drain()
    assert bench.service.renew(lease.id).id == lease.id
    assert bench.service.figures.status()["draining"]


def test_of_two_fills_the_one_that_nobody_reads_is_ended(bench, origin):
    unread = Key("default", "unread")
    bench.put()
    bench.put(ModelSpec("m", SOURCE), key=unread)
    with origin.held():
        bench.grant(bench.open())
        bench.open(unread)
        with bench.service._lock:
            ended = bench.slot(unread).work
        bench.service.drain()
    assert isinstance(bench._end_of(ended), FillStoppedError)
    assert bench.settle() is None
