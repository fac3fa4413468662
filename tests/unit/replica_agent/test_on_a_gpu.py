"""Tensors on a real device; `-m gpu` runs these. All else about devices is in test_devices."""

import gc
import subprocess
import sys

import pytest
import safetensors.torch
import torch

from replica_agent import open_pipeline
from replica_agent.arenas.cuda.bindings import load_driver
from tests.fakes.node import FakeNode

pytestmark = pytest.mark.gpu

DEVICE = "cuda:0"
FILE = "model.safetensors"
KINDS = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.complex64,
]  # fmt: skip
SHAPES = {"large": (1500, 4096), "odd": (7, 3), "scalar": (), "none": (0, 3)}
SLACK = 64 * 2**20  # bytes that libraries of others may take or give meanwhile


def saved(dtype=torch.bfloat16):
    weights = {name: torch.randn(shape).to(dtype) for name, shape in SHAPES.items()}
    return safetensors.torch.save(weights)


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def same(state, truth):
    return state.keys() == truth.keys() and all(
        (state[n].device, state[n].dtype, state[n].shape)
        == (truth[n].device, truth[n].dtype, truth[n].shape)
        and torch.equal(bits(state[n]), bits(truth[n]))
        for n in truth
    )


def free():
    return load_driver().open(0).room()[0]


@pytest.mark.parametrize("dtype", KINDS, ids=str)
def test_tensors_are_those_of_the_safetensors_library_on_the_device(tmp_path, dtype):
    content = saved(dtype)
    path = tmp_path / FILE
    path.write_bytes(content)
    truth = safetensors.torch.load_file(path, device=DEVICE)
    with (
        FakeNode({"llm": {FILE: content}}) as node,
        open_pipeline("voice", server=node.url, device=DEVICE) as pipeline,
    ):
        assert same(pipeline["llm"].state_dict(), truth)
        assert same(dict(pipeline["llm"].stream()), truth)
        assert "notes" not in pipeline.report()


def test_the_device_computes_with_them_after_the_pipeline_is_closed():
    weights = {"w": torch.randn(512, 512)}
    with (
        FakeNode({"llm": {FILE: safetensors.torch.save(weights)}}) as node,
        open_pipeline("voice", server=node.url, device=DEVICE) as pipeline,
    ):
        there = pipeline["llm"].state_dict()["w"]
        del pipeline
    gc.collect()
    with torch.cuda.stream(torch.cuda.Stream()):
        result = (there @ torch.eye(512, device=DEVICE)).cpu()
    assert torch.allclose(result, weights["w"], atol=1e-2)


def test_device_memory_comes_back_with_the_last_tensor():
    content = safetensors.torch.save({"w": torch.zeros(256, 2**20)})  # 1 GiB
    torch.empty(1, device=DEVICE)
    before = free()
    with (
        FakeNode({"llm": {FILE: content}}) as node,
        open_pipeline("voice", server=node.url, device=DEVICE) as pipeline,
    ):
        kept = pipeline["llm"].state_dict()["w"][0, :10]
        del pipeline
    gc.collect()
    taken = before - free()
    del kept
    gc.collect()
    assert abs(taken - len(content)) < SLACK
    assert abs(before - free()) < SLACK


def test_an_index_that_no_device_has_is_an_error():
    count = load_driver().count()
    with (
        FakeNode({"llm": {FILE: saved()}}) as node,
        open_pipeline("voice", server=node.url, device=f"cuda:{count}") as pipeline,
        pytest.raises(Exception, match="the devices here are 0"),
    ):
        pipeline.wait()


def test_a_process_ends_well_while_tensors_are_on_the_device():
    code = """if True:
        import sys, torch
        from replica_agent import open_pipeline
        with open_pipeline("voice", server=sys.argv[1], device="cuda:0") as pipeline:
            sys.kept = pipeline["llm"].state_dict()
        print(len(sys.kept))
    """
    with FakeNode({"llm": {FILE: saved()}}) as node:
        command = [sys.executable, "-c", code, node.url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(len(SHAPES)), "")
