"""Readers that a door sent to the data plane: they ask there again, and nowhere for a fill."""

import pytest

from cache_protocol.errors import OriginDeniedError, OriginUnavailableError
from tests.fakes.service import VOICE


def failed_fill(bench, origin, error):
    """Return what a fill leaves behind that had begun, and failed with ``error``."""
    bench.put()
    bench.resolved()
    origin.fail(error, times=1000)
    generation = bench.open()
    assert bench.settle() is not None
    origin._errors.clear()
    bench.clock.advance(1)
    return generation


def wanted(bench):
    bench.service._house.flush()  # as every round begins
    return bench.service._house._still_wanted()


def test_a_fill_that_failed_goes_on_when_somebody_reads_on(bench, origin):
    generation = failed_fill(bench, origin, OriginUnavailableError("503"))
    bench.service.library.find(generation.id, "m", "w.dat")
    assert wanted(bench) == [VOICE]
    bench.service._house.proactive.ask([VOICE])
    assert bench.settle() is None
    assert bench.read("config.json", generation) == b"{}"
    assert wanted(bench) == []


def test_a_fill_that_failed_is_left_alone_while_nobody_reads(bench, origin):
    failed_fill(bench, origin, OriginUnavailableError("503"))
    assert wanted(bench) == []


def test_what_the_origin_refused_is_not_asked_for_again_by_itself(bench, origin):
    generation = failed_fill(bench, origin, OriginDeniedError("gated"))
    bench.service.library.find(generation.id, "m", "w.dat")
    assert wanted(bench) == []


@pytest.mark.parametrize("path", ["config.json", "w.dat"])
def test_a_read_of_a_running_fill_begins_no_other(bench, origin, path):
    bench.put()
    with origin.held():
        generation = bench.open()
        bench.service.library.find(generation.id, "m", path)
        assert wanted(bench) == []
