"""Tier one: the loader against a small stand-in of vLLM's loader interface."""

import gc
import json
import os
import sys
import threading
from pathlib import Path

import pytest
import safetensors.torch
import torch

from cache_protocol.errors import IntegrityError, MalformedError
from replica_agent.core.schedule import EXTENT
from replica_agent.engines.vllm import register
from replica_agent.handover.client import HandoverError, attach
from replica_agent.handover.generations import MixedError
from replica_agent.handover.messages import Outcome
from replica_agent.handover.place import Origin, Place, write_place
from tests.fakes.acting_agent import acting_agent
from tests.fakes.agent_process import agent_process
from tests.fakes.handover import host
from tests.fakes.node import FakeNode, opened
from tests.fakes.vllm_stand_in import DefaultModelLoader, Model, ModelConfig, StandIn

WEIGHTS = {f"layer.{n}": torch.randn(1024, 1024) for n in range(9)}  # 4 MiB each
SAVED = safetensors.torch.save(WEIGHTS)  # five chunks: more than one lane asks for at a time
FILE = "model.safetensors"


@pytest.fixture
def vllm(monkeypatch):
    return StandIn(monkeypatch)


@pytest.fixture
def origin(tmp_path):
    """Return a directory with the same weights."""
    directory = tmp_path / "origin"
    directory.mkdir()
    (directory / FILE).write_bytes(SAVED)
    return directory


def node(content=SAVED, **options):
    return FakeNode({"llm": {"config.json": b"{}", FILE: content}}, **options)


def prepared(tmp_path, socket, origin=None):
    directory = tmp_path / "llm"
    directory.mkdir(exist_ok=True)
    source = None if origin is None else Origin(f"file://{origin}")
    fallback = "fail" if origin is None else "origin"
    write_place(directory, Place(socket, "llm", "voice", "g", fallback, source))
    return ModelConfig(str(directory))


def same(model, expected=WEIGHTS):
    return all(torch.equal(model.weights[name], expected[name]) for name in expected)


def outcomes(here):
    return [c.outcome for c in here.server.consumers]


def held():
    links = (os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink())
    return Path("/proc/self/maps").read_text().count("memfd:llm"), sum("memfd" in x for x in links)


def test_registration_is_idempotent(vllm):
    vllm.register()
    vllm.register()
    assert vllm.registered == ["warmline"]


def test_registration_never_raises(vllm, monkeypatch, caplog):
    def broken(_):
        raise TypeError("another signature")

    monkeypatch.setattr(
        sys.modules["vllm.model_executor.model_loader"], "register_model_loader", broken
    )
    vllm.register()
    assert "load format warmline is not available" in caplog.text


def test_registration_outside_of_vllm_never_raises(caplog):
    register()
    assert "No module named 'vllm'" in caplog.text


def test_a_loader_can_be_made_often_without_effect(vllm):
    before = threading.active_count()
    for _ in range(3):
        vllm.loader().download_model(ModelConfig("/nowhere"))
    assert threading.active_count() == before


@pytest.mark.parametrize("extra", [{"socket": "/x"}, {"model": "llm"}, {"sokcet": "/x"}, {"a": 1}])
def test_extra_config_that_is_not_ours_is_refused(vllm, extra):
    with pytest.raises(ValueError, match="extra config"):
        vllm.loader(extra=extra)


@pytest.mark.parametrize("drains", [False, True])
def test_parameters_are_those_of_the_node(vllm, tmp_path, drains):
    with node() as there, host(there) as here:
        model = Model(WEIGHTS, drains=drains)
        vllm.loader().load_weights(model, prepared(tmp_path, here.path))
        assert same(model)
        until_told(here)
        assert outcomes(here) == [Outcome.LOADED]


def test_parameters_are_right_under_a_default_device(vllm, tmp_path):
    empty = {"nothing": torch.empty(0, 4), **WEIGHTS}
    with node(safetensors.torch.save(empty)) as there, host(there) as here:
        model = Model(empty)
        with torch.device("meta"):
            vllm.loader().load_weights(model, prepared(tmp_path, here.path))
        assert same(model, empty)


def test_every_tensor_of_the_iterator_is_on_the_cpu_under_a_default_device():
    empty = {"nothing": torch.empty(0, 4), **WEIGHTS}
    with node(safetensors.torch.save(empty)) as there, host(there) as here:
        with attach(here.path, "llm") as attached, torch.device("meta"):
            given = dict(attached.tensors())
        assert {str(t.device) for t in given.values()} == {"cpu"}
        assert given.keys() == empty.keys()


def test_tensors_reach_the_model_before_the_file_is_whole(vllm, tmp_path):
    with node() as there, opened(there.gate("llm", FILE, EXTENT)) as gate, host(there) as here:
        model = Model(WEIGHTS)
        take = model.load_weights

        def watched(weights):
            def seen():
                for name, tensor in weights:
                    assert model.fed or not gate.is_set()
                    yield name, tensor
                    gate.set()

            return take(seen())

        model.load_weights = watched
        vllm.loader().load_weights(model, prepared(tmp_path, here.path))
        assert same(model)


def test_nothing_of_ours_is_left_after_the_load(vllm, tmp_path):
    with node() as there, host(there) as here:
        here.pull.wait()
        gc.collect()  # what other tests left
        before = held()
        threads = threading.active_count()
        vllm.loader().load_weights(Model(WEIGHTS), prepared(tmp_path, here.path))
        assert here.server.wait_consumed(10)
        gc.collect()
        assert held() == before
        assert threading.active_count() <= threads + 1  # the server's own, on its way out


def test_the_load_does_not_end_before_the_verdicts(vllm, tmp_path):
    with node() as there, host(there) as here:
        gate = there.faults.verdict_gates[("llm", FILE)] = threading.Event()
        config = prepared(tmp_path, here.path)
        model = Model(WEIGHTS)
        loading = threading.Thread(target=vllm.loader().load_weights, args=(model, config))
        with opened(gate):
            loading.start()
            here.pull.transfer().arrivals("llm", 1)
            assert not here.server.wait_consumed(0.05)
            assert outcomes(here) in ([], [None])
        loading.join()
        until_told(here)
        assert outcomes(here) == [Outcome.LOADED]


def test_a_file_that_was_pulled_again_is_fed_again(vllm, tmp_path):
    other = {**WEIGHTS, "layer.8": torch.randn(1024, 1024)}
    with FakeNode({"llm": {FILE: SAVED}}, know_sha256=False) as there:

        def pulled_again():
            there.models["llm"][FILE] = safetensors.torch.save(other)

        there.before_verdict = pulled_again
        with host(there) as here:
            model = Model(WEIGHTS)
            vllm.loader().load_weights(model, prepared(tmp_path, here.path))
            assert same(model, other)


def test_layers_that_quantise_while_loading_are_fed_confirmed_weights_once(vllm, tmp_path):
    other = {**WEIGHTS, "layer.8": torch.randn(1024, 1024)}
    with FakeNode({"llm": {FILE: SAVED}}, know_sha256=False) as there:

        def pulled_again():
            there.models["llm"][FILE] = safetensors.torch.save(other)

        there.before_verdict = pulled_again
        with host(there) as here:
            model = Model(WEIGHTS)
            model.quant_method = Quantising()
            vllm.loader().load_weights(model, prepared(tmp_path, here.path))
            assert same(model, other)
            assert len(model.fed) == len(WEIGHTS)


class Quantising:
    uses_meta_device = True


def test_a_checkpoint_that_lacks_a_parameter_is_refused(vllm, tmp_path):
    with node() as there, host(there) as here:
        model = Model({**WEIGHTS, "layer.x": torch.zeros(2)})
        with pytest.raises(ValueError, match="layer_x"):
            vllm.loader().load_weights(model, prepared(tmp_path, here.path))
        until_told(here)
        assert outcomes(here) == [Outcome.FAILED]


def until_told(here):
    with here.server._changed:
        assert here.server._changed.wait_for(
            lambda: all(c.outcome for c in here.server.consumers), 10
        )


def test_content_that_moves_is_loaded_anew(vllm, tmp_path):
    other = {name: tensor + 1 for name, tensor in WEIGHTS.items()}
    with node() as there, opened(there.gate("llm", FILE, EXTENT)), host(there) as here:
        model = Model(WEIGHTS)
        take = model.load_weights

        def moved(weights):
            model.load_weights = take
            name, tensor = next(weights)
            there.replace({"llm": {"config.json": b"{}", FILE: safetensors.torch.save(other)}})
            there.faults.gates.clear()
            here.pull.transfer().refresh(here.pull._client.manifest("voice"))
            return take(iter([(name, tensor), *weights]))

        model.load_weights = moved
        vllm.loader().load_weights(model, prepared(tmp_path, here.path))
        assert same(model, other)


# Ranks and drafters.


def test_the_memory_is_kept_for_every_rank_of_the_host(vllm, tmp_path):
    with node() as there, host(there) as here:
        config = prepared(tmp_path, here.path)
        vllm.configured(config, ranks=2, replicas=2)
        vllm.loader().load_weights(Model(WEIGHTS), config)
        assert here.server.consumers[0].peers == 4
        assert not here.server.wait_consumed(0.05)


def test_an_old_vllm_says_how_many_ranks_there_are(monkeypatch, tmp_path):
    vllm = StandIn(monkeypatch, old=True)
    vllm.rank, vllm.ranks = 1, 2
    with node() as there, host(there) as here:
        vllm.loader().load_weights(Model(WEIGHTS), prepared(tmp_path, here.path))
        assert (here.server.consumers[0].rank, here.server.consumers[0].peers) == (1, 2)


def test_a_drafter_of_the_same_checkpoint_is_served_from_the_same_mapping(vllm, tmp_path):
    with node() as there, host(there) as here:
        config = prepared(tmp_path, here.path)
        drafter = ModelConfig(config.model)
        vllm.configured(config, drafter)
        vllm.loader().load_weights(Model(WEIGHTS), config)
        assert outcomes(here) == [None]
        model = Model(WEIGHTS)
        vllm.loader().load_weights(model, drafter)
        assert same(model)
        until_told(here)
        assert outcomes(here) == [Outcome.LOADED]


def test_a_drafter_whose_main_model_came_from_the_origin_comes_from_there_too(
    vllm, tmp_path, origin
):
    with node() as there:
        there.corrupt("llm", FILE, chunk=0, sends=99)
        with host(there) as here:
            config = prepared(tmp_path, here.path, origin)
            drafter = ModelConfig(config.model)
            vllm.configured(config, drafter)
            for each in (config, drafter):
                model = Model(WEIGHTS)
                vllm.loader().load_weights(model, each)
                assert same(model)
            until_told(here)
            assert outcomes(here) == [Outcome.ORIGIN] * 2


def test_a_drafter_of_its_own_is_loaded_as_usual(vllm, tmp_path, origin):
    with node() as there, host(there) as here:
        config = prepared(tmp_path, here.path)
        drafter = ModelConfig(str(origin))
        vllm.configured(config, drafter)
        vllm.loader().load_weights(Model(WEIGHTS), config)
        until_told(here)
        assert outcomes(here) == [Outcome.LOADED]
        model = Model(WEIGHTS)
        vllm.loader().load_weights(model, drafter)
        assert same(model)
        assert DefaultModelLoader.read == [(str(origin), None)]


def test_a_drafter_of_its_own_is_not_taken_for_the_named_model(vllm, tmp_path, origin):
    with node() as there, host(there) as here:
        extra = {"socket": str(here.path), "model": "llm"}
        model = Model(WEIGHTS)
        vllm.loader(extra=extra).load_weights(model, ModelConfig(str(origin)))
        assert DefaultModelLoader.read == [(str(origin), None)]


def test_a_reload_gives_the_same_weights_again(vllm, tmp_path):
    with node() as there, host(there) as here:
        config, model = prepared(tmp_path, here.path), Model(WEIGHTS)
        again = dict(vllm.loader().get_all_weights(config, model))
        assert all(torch.equal(again[name], WEIGHTS[name]) for name in WEIGHTS)


# Never worse than without.


def test_a_reload_without_the_agent_reads_the_origin(vllm, tmp_path, origin):
    config = prepared(tmp_path, tmp_path / "none", origin)
    again = dict(vllm.loader().get_all_weights(config, Model(WEIGHTS)))
    assert again.keys() == WEIGHTS.keys()
    assert DefaultModelLoader.read == [(str(tmp_path / "llm"), None)]


def test_without_an_agent_the_origin_is_loaded(vllm, tmp_path, origin):
    model = Model(WEIGHTS)
    vllm.loader().load_weights(model, prepared(tmp_path, tmp_path / "none", origin))
    assert same(model)
    assert DefaultModelLoader.read == [(str(tmp_path / "llm"), None)]


def test_without_an_agent_and_told_to_fail_the_load_fails(vllm, tmp_path):
    with pytest.raises(HandoverError, match="no agent answers"):
        vllm.loader().load_weights(Model(WEIGHTS), prepared(tmp_path, tmp_path / "none"))


@pytest.mark.parametrize(
    ("act", "reason"), [("version", "version 2 of the hand-over"), ("early", "never arrived")]
)
def test_an_agent_of_another_kind_is_gone_around(vllm, tmp_path, origin, caplog, act, reason):
    with acting_agent(tmp_path, act) as (_, path):
        model = Model(WEIGHTS)
        with caplog.at_level("WARNING"):
            vllm.loader().load_weights(model, prepared(tmp_path, path, origin))
        assert same(model)
        assert reason in caplog.text


@pytest.mark.parametrize("failing", [False, True])
def test_an_agent_that_is_killed_during_the_load_is_gone_around(vllm, tmp_path, origin, failing):
    with (
        node() as there,
        opened(there.gate("llm", FILE, EXTENT)),
        agent_process(there, tmp_path / "handover") as (agent, path),
    ):
        config = prepared(tmp_path, path, None if failing else origin)
        model = Model(WEIGHTS)
        take = model.load_weights

        def killed(weights):
            model.load_weights = take
            first = next(weights)
            agent.kill()
            return take(iter([first, *weights]))

        model.load_weights = killed
        if failing:
            with pytest.raises(HandoverError, match="has gone"):
                vllm.loader().load_weights(model, config)
        else:
            vllm.loader().load_weights(model, config)
            assert same(model)


def test_what_comes_from_the_origin_is_loaded_at_the_models_own_path(vllm, tmp_path, origin):
    config, model = prepared(tmp_path, tmp_path / "none", origin), Model(WEIGHTS)
    directory = config.model
    vllm.loader().load_weights(model, config)
    assert same(model)
    assert DefaultModelLoader.read == [(directory, None)]  # compile caches are keyed by it


def test_a_pull_that_failed_before_the_engine_asked_is_reported(vllm, tmp_path, origin):
    with node() as there:
        there.corrupt("llm", FILE, chunk=0, sends=99)
        with host(there) as here:
            with pytest.raises(IntegrityError):
                here.pull.wait()
            model = Model(WEIGHTS)
            vllm.loader().load_weights(model, prepared(tmp_path, here.path, origin))
            until_told(here)
            assert same(model)
            (consumer,) = here.server.consumers
            assert consumer.outcome is Outcome.ORIGIN
            assert "wrong digest" in consumer.reason


def test_a_model_of_several_places_is_loaded_by_the_default_loader(vllm, tmp_path, origin):
    with node() as there, host(there) as here:
        model = Model(WEIGHTS)
        model.secondary_weights = ["another repository"]
        vllm.loader().load_weights(model, prepared(tmp_path, here.path, origin))
        until_told(here)
        assert same(model)
        assert DefaultModelLoader.read == [(str(tmp_path / "llm"), None)]
        assert outcomes(here) == [Outcome.ORIGIN]


@pytest.mark.parametrize("quantization", ["torchao", "bitsandbytes"])
def test_a_format_that_vllm_reads_in_its_own_way_is_left_to_it(
    vllm, tmp_path, origin, quantization
):
    with node() as there, host(there) as here:
        config = prepared(tmp_path, here.path, origin)
        config.quantization = quantization
        vllm.loader().load_weights(Model(WEIGHTS), config)
        assert DefaultModelLoader.read == [(str(tmp_path / "llm"), None)]


def test_memory_that_was_given_up_is_gone_around(vllm, tmp_path, origin):
    with node() as there, host(there) as here:
        here.pull.wait()
        here.pull.close()
        model = Model(WEIGHTS)
        vllm.loader().load_weights(model, prepared(tmp_path, here.path, origin))
        until_told(here)
        assert same(model)
        assert outcomes(here)[-1] is Outcome.ORIGIN


def test_an_origin_that_fails_too_fails_the_load(vllm, tmp_path, origin):
    class Broken(Model):
        def load_weights(self, weights):
            raise MalformedError("no such format")

    with node() as there, host(there) as here:
        config = prepared(tmp_path, here.path, origin)
        with pytest.raises(MalformedError, match="no such format"):
            vllm.loader().load_weights(Broken(WEIGHTS), config)
        until_told(here)
        assert outcomes(here) == [Outcome.FAILED]


def test_a_place_that_is_no_place_is_refused(vllm, tmp_path):
    (tmp_path / ".warmline.json").write_text(json.dumps({"socket": 3}))
    with pytest.raises(MalformedError, match="form"):
        vllm.loader().load_weights(Model(WEIGHTS), ModelConfig(str(tmp_path)))


@pytest.mark.parametrize(
    ("generation", "revision", "right"),
    [("g1", "a" * 40, True), ("g2", "a" * 40, False), ("g1", None, False)],
)
def test_the_origin_is_gone_to_only_if_it_has_what_other_ranks_have(
    vllm, generation, revision, right
):
    from replica_agent.engines import vllm_loader  # noqa: PLC0415 - after vLLM's stand-in

    place = Place(Path(), "llm", "voice", generation, "origin", Origin("hf://a/b", revision))
    assert vllm_loader._is_right(place, MixedError("rank 0 has g1", "g1")) is right
