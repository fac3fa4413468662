"""Headers of a model's files, for an engine that does not wait for them long."""

import pytest
import safetensors.torch
import torch

from cache_protocol.errors import MalformedError
from replica_agent.handover.client import attach
from tests.fakes.acting_agent import acting_agent
from tests.fakes.handover import host
from tests.fakes.node import FakeNode, opened

WEIGHTS = {"layer": torch.randn(64, 64)}
SAVED = safetensors.torch.save(WEIGHTS)
LONG = 30.0  # seconds; nobody waits that long


def test_headers_that_have_arrived_are_there_at_once():
    with (
        FakeNode({"llm": {"model.safetensors": SAVED}}) as there,
        host(there) as here,
        attach(here.path, "llm") as attached,
    ):
        (headed,) = attached.headers_within(LONG)
        assert (headed.path, headed.size) == ("model.safetensors", len(SAVED))
        assert [entry.name for entry in headed.entries] == ["layer"]
        assert headed.entries[0].span.begin == headed.header


def test_a_header_that_does_not_arrive_is_not_waited_for():
    with (
        FakeNode({"llm": {"model.safetensors": SAVED}}) as there,
        opened(there.gate("llm", "model.safetensors", 0)) as gate,
        host(there) as here,
        attach(here.path, "llm") as attached,
    ):
        assert attached.headers_within(0.01) is None
        gate.set()
        assert attached.headers_within(LONG) is not None
        assert torch.equal(dict(attached.tensors())["layer"], WEIGHTS["layer"])


def test_what_is_queued_does_not_make_the_wait_longer(tmp_path):
    with acting_agent(tmp_path, "early") as (_, path), attach(path, "llm") as attached:
        assert attached._lines.wait(LONG)
        assert attached.headers_within(0.0) is None
        with pytest.raises(MalformedError):  # it is there to be heard
            attached.wait_confirmed()


def test_the_wait_for_headers_counts_as_time_that_the_engine_stood(tmp_path):
    with acting_agent(tmp_path, "layout") as (_, path), attach(path, "llm") as attached:
        before = attached.waited
        assert attached.headers_within(0.05) is None
        assert attached.waited - before >= 0.05


def test_headers_of_what_is_confirmed_are_there_without_waiting():
    with (
        FakeNode({"llm": {"model.safetensors": SAVED}}) as there,
        host(there) as here,
        attach(here.path, "llm") as attached,
    ):
        attached.wait_confirmed()
        assert attached.headers_within(0) is not None


def test_files_that_nobody_wants_are_not_waited_for():
    with (
        FakeNode({"llm": {"a.safetensors": SAVED, "b.safetensors": SAVED}}) as there,
        opened(there.gate("llm", "b.safetensors", 0)),
        host(there) as here,
        attach(here.path, "llm") as attached,
    ):
        (headed,) = attached.headers_within(LONG, lambda path: path == "a.safetensors")
        assert headed.path == "a.safetensors"
