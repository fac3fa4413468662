import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.checkpoints import write_checkpoint
from demo.replica import _differences


@pytest.fixture
def checkpoint(tmp_path):
    write_checkpoint(tmp_path, 1_000_000)
    return tmp_path


@pytest.fixture
def loaded(checkpoint):
    return {n: t for f in checkpoint.glob("*.safetensors") for n, t in load_file(f).items()}


def test_what_the_library_reads_is_equal_to_itself(checkpoint, loaded):
    assert list(_differences(loaded, checkpoint)) == []


def test_one_flipped_bit_is_a_difference(checkpoint, loaded):
    loaded["model.norm.weight"].view(torch.uint8)[0] ^= 1
    assert list(_differences(loaded, checkpoint)) == ["model.norm.weight"]


def test_a_tensor_that_is_missing_is_a_difference(checkpoint, loaded):
    del loaded["model.norm.weight"]
    assert list(_differences(loaded, checkpoint)) == ["model.norm.weight"]


def test_a_tensor_too_many_is_a_difference(checkpoint, loaded):
    assert list(_differences({**loaded, "more": torch.zeros(1)}, checkpoint)) == ["more"]


def test_another_shape_of_the_same_bytes_is_a_difference(checkpoint, loaded):
    loaded["model.norm.weight"] = loaded["model.norm.weight"].reshape(1, -1)
    assert list(_differences(loaded, checkpoint)) == ["model.norm.weight"]


def test_minus_zero_is_not_zero(tmp_path):
    save_file({"x": torch.tensor([0.0])}, tmp_path / "model.safetensors")
    assert list(_differences({"x": torch.tensor([-0.0])}, tmp_path)) == ["x"]
