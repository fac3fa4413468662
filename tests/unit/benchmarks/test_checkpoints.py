import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from benchmarks.checkpoints import BF16, HIDDEN, data, plan, stack, write_checkpoint
from cache_protocol.ranges import Span

SMALL = 3_000_000  # bytes


@pytest.fixture
def checkpoint(tmp_path):
    write_checkpoint(tmp_path, SMALL)
    return tmp_path


def tensors(directory):
    index = json.loads((directory / "model.safetensors.index.json").read_text())
    for shard in sorted(set(index["weight_map"].values())):
        with safe_open(directory / shard, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
                yield shard, name, file.get_tensor(name)


def test_the_reference_library_reads_every_tensor_where_the_index_says(checkpoint):
    index = json.loads((checkpoint / "model.safetensors.index.json").read_text())
    assert {name: shard for shard, name, _ in tensors(checkpoint)} == index["weight_map"]


def test_two_shards_share_the_bytes_about_equally(checkpoint):
    first, second = (p.stat().st_size for p in sorted(checkpoint.glob("*.safetensors")))
    assert 0.7 < first / second < 1.4


def test_every_value_is_finite_and_not_zero(checkpoint):
    for _, _, tensor in tensors(checkpoint):
        assert tensor.isfinite().all()
        assert (tensor != 0).all()


def test_full_width_layers_have_the_shapes_of_the_published_model():
    layers, divisor = plan(2_000_000_000)
    shapes = {t.name.removeprefix("model.layers.0."): t.shape for t in stack(layers, divisor)}
    assert shapes["mlp.gate_proj.weight"] == (14336, 4096)
    assert shapes["self_attn.k_proj.weight"] == (1024, 4096)
    assert shapes["model.norm.weight"] == (HIDDEN,)
    assert sum(t.size for t in stack(1)) == BF16 * (218_112_000 + HIDDEN)


@given(size=st.integers(1_000_000, 10**10))
def test_a_plan_stays_within_the_size_asked_for(size):
    assert sum(t.size for t in stack(*plan(size))) <= size + BF16 * HIDDEN


@given(begin=st.integers(0, 5000), size=st.integers(1, 5000))
def test_any_span_is_the_same_bytes_that_a_longer_span_holds(begin, size):
    whole = data(7, 1, Span(0, 10_000))
    assert np.array_equal(data(7, 1, Span(begin, begin + size)), whole[begin : begin + size])


def test_another_seed_gives_other_bytes():
    assert not np.array_equal(data(0, 0, Span(0, 64)), data(1, 0, Span(0, 64)))


def test_the_same_seed_gives_the_same_files(checkpoint, tmp_path_factory):
    again = tmp_path_factory.mktemp("again")
    write_checkpoint(again, SMALL)
    for path in checkpoint.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()
