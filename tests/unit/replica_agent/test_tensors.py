import gc
import json
import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import safetensors.torch
import torch

from cache_protocol.errors import (
    GenerationGoneError,
    IntegrityError,
    MalformedError,
    OriginDeniedError,
)
from cache_protocol.safetensors_header import BITS
from replica_agent import open_pipeline
from replica_agent.core.schedule import EXTENT
from tests.fakes.node import FakeNode

KINDS = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.complex64, torch.uint64, torch.uint32,
    torch.uint16,
]  # fmt: skip


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def same(one, other):
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and torch.equal(bits(one), bits(other))
    )


def raw(dtype, shape, data):
    """Return a safetensors file with one tensor ``t``, whatever its dtype."""
    header = json.dumps(
        {"t": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}
    ).encode()
    return len(header).to_bytes(8, "little") + header + data


WEIGHTS = {f"layer.{n}": torch.randn(1024, 1024) for n in range(5)}  # 4 MiB each


@pytest.fixture(scope="module")
def saved():
    return safetensors.torch.save(WEIGHTS)


def one(content, path="model.safetensors"):
    return FakeNode({"asr": {path: content}})


@contextmanager
def served(content, **options):
    """Serve one file, and pull it."""
    with one(content) as node, open_pipeline("voice", server=node.url, **options) as pipeline:
        yield pipeline


def test_a_state_dict_is_what_the_safetensors_library_reads(saved):
    with one(saved) as node, open_pipeline("voice", server=node.url) as pipeline:
        state = pipeline["asr"].state_dict()
    assert state.keys() == WEIGHTS.keys()
    assert all(same(state[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize("dtype", KINDS, ids=str)
def test_every_dtype_that_torch_can_save_comes_back(dtype):
    tensor = torch.arange(48, dtype=torch.uint8).clamp(max=1).view(dtype).reshape(-1, 2)
    with served(safetensors.torch.save({"t": tensor})) as pipeline:
        assert same(pipeline["asr"].state_dict()["t"], tensor)


@pytest.mark.parametrize("dtype", sorted(BITS))
def test_every_dtype_of_the_format_gives_all_its_bits_in_torch_and_numpy(dtype):
    data = bytes(n % 2 for n in range(48))
    shape = [48 * 8 // BITS[dtype] // 2, 2]
    with served(raw(dtype, shape, data)) as pipeline:
        assert bytes(bits(pipeline["asr"].state_dict()["t"]).numpy()) == data
        assert pipeline["asr"].arrays()["t"].tobytes() == data


def test_a_packed_four_bit_tensor_has_half_the_last_dimension():
    with served(raw("F4", [3, 4], bytes(6))) as pipeline:
        tensor = pipeline["asr"].state_dict()["t"]
    assert (tensor.dtype, tuple(tensor.shape)) == (torch.float4_e2m1fn_x2, (3, 2))


def test_empty_tensors_and_scalars_have_their_shapes():
    weights = {"none": torch.empty(0, 3), "scalar": torch.tensor(2.5)}
    with served(safetensors.torch.save(weights)) as pipeline:
        streamed = dict(pipeline["asr"].stream())
        state = pipeline["asr"].state_dict()
    assert all(same(made[n], weights[n]) for made in (state, streamed) for n in weights)


def test_a_file_of_empty_tensors_alone_is_streamed():
    with served(safetensors.torch.save({"none": torch.empty(0)})) as pipeline:
        assert [n for n, _ in pipeline["asr"].stream()] == ["none"]


def test_tensors_are_views_of_one_memory_not_copies(saved):
    with one(saved) as node, open_pipeline("voice", server=node.url) as pipeline:
        first, again = pipeline["asr"].state_dict(), pipeline["asr"].state_dict()
        assert all(first[n].data_ptr() == again[n].data_ptr() for n in first)


def test_a_misplaced_tensor_is_copied_and_right():
    header = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
    header += b'"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}'
    header += b" " * (-len(header) % 8)
    numbers = np.array([1.5, -2.5], dtype="<f4")
    content = len(header).to_bytes(8, "little") + header + b"\x07" + numbers.tobytes()
    with one(content) as node, open_pipeline("voice", server=node.url) as pipeline:
        assert pipeline["asr"].state_dict()["b"].tolist() == [1.5, -2.5]
        assert pipeline["asr"].arrays()["b"].tolist() == [1.5, -2.5]


def test_views_stay_valid_after_the_pipeline_is_closed(saved):
    with served(saved) as pipeline:
        state, arrays = pipeline["asr"].state_dict(), pipeline["asr"].arrays()
        del pipeline
        gc.collect()
    assert same(state["layer.4"], WEIGHTS["layer.4"])
    assert np.array_equal(arrays["layer.0"], WEIGHTS["layer.0"].numpy())


def test_arrays_are_read_only(saved):
    with one(saved) as node, open_pipeline("voice", server=node.url) as pipeline:
        assert not pipeline["asr"].arrays()["layer.0"].flags.writeable


def test_a_stream_hands_tensors_out_while_later_chunks_are_still_missing():
    weights = {f"layer.{n}": torch.zeros(1024, 1024) for n in range(9)}  # 36 MiB, two extents
    with one(safetensors.torch.save(weights)) as node:
        gate = node.gate("asr", "model.safetensors", EXTENT)
        with open_pipeline("voice", server=node.url) as pipeline:
            stream = pipeline["asr"].stream()
            early = [next(stream)[0] for _ in range(7)]
            gate.set()
            assert sorted([*early, *(name for name, _ in stream)]) == sorted(weights)


def test_a_stream_ends_only_after_the_verdict(saved):
    with one(saved) as node:
        node.faults.sha256["asr", "model.safetensors"] = "0" * 64
        with open_pipeline("voice", server=node.url) as pipeline, pytest.raises(IntegrityError):
            list(pipeline["asr"].stream())


def test_no_state_dict_comes_without_the_verdict(saved):
    with one(saved) as node:
        node.faults.sha256["asr", "model.safetensors"] = "0" * 64
        with open_pipeline("voice", server=node.url) as pipeline, pytest.raises(IntegrityError):
            pipeline["asr"].state_dict()


def test_a_stream_whose_file_was_pulled_again_by_the_node_says_so(saved):
    other = bytearray(saved)
    other[-1] ^= 1
    with one(saved) as node:
        node.know_sha256 = False
        node.before_verdict = lambda: node.models["asr"].update({"model.safetensors": bytes(other)})
        with (
            open_pipeline("voice", server=node.url) as pipeline,
            pytest.raises(IntegrityError, match="load again"),
        ):
            list(pipeline["asr"].stream())


def test_a_generation_that_is_replaced_under_a_stream_says_so(saved):
    with one(saved) as node:
        gate = node.faults.verdict_gates["asr", "model.safetensors"] = threading.Event()
        with open_pipeline("voice", server=node.url) as pipeline:
            stream = pipeline["asr"].stream()
            next(stream)
            node.replace({"asr": {"model.safetensors": saved[:-1] + b"\0"}})
            gate.set()  # the verdict that is waited for is about what is gone
            with pytest.raises(GenerationGoneError):
                list(stream)


def test_shards_are_one_model():
    shards = {
        "a.safetensors": safetensors.torch.save({"x": torch.ones(3)}),
        "b.safetensors": safetensors.torch.save({"y": torch.zeros(3)}),
    }
    with FakeNode({"asr": shards}) as node, open_pipeline("voice", server=node.url) as pipeline:
        assert pipeline["asr"].state_dict().keys() == {"x", "y"}


@pytest.mark.parametrize("way", ["state_dict", "stream", "arrays"])
def test_a_tensor_in_two_shards_is_malformed(way):
    shard = safetensors.torch.save({"x": torch.ones(3)})
    with (
        FakeNode({"asr": {"a.safetensors": shard, "b.safetensors": shard}}) as node,
        open_pipeline("voice", server=node.url) as pipeline,
        pytest.raises(MalformedError, match=r"'x' is in ..safetensors and in"),
    ):
        list(getattr(pipeline["asr"], way)())


@pytest.mark.parametrize("way", ["state_dict", "stream"])
@pytest.mark.parametrize(
    "content", [b"", b"1234567", b"\xff" * 8, raw("F32", [3], bytes(8)), raw("X9", [1], b"1")]
)
def test_a_header_that_lies_is_malformed(way, content):
    with (
        one(content) as node,
        open_pipeline("voice", server=node.url) as pipeline,
        pytest.raises(MalformedError),
    ):
        list(getattr(pipeline["asr"], way)())


def test_files_of_other_kinds_are_read_as_they_are(saved):
    with (
        FakeNode({"asr": {"config.json": b"{}", "model.safetensors": saved}}) as node,
        open_pipeline("voice", server=node.url) as pipeline,
    ):
        assert pipeline["asr"].files() == ("config.json", "model.safetensors")
        assert pipeline["asr"].read("config.json") == b"{}"
        with pytest.raises(FileNotFoundError, match="'missing'"):
            pipeline["asr"].read("missing")


def test_a_pipeline_is_a_mapping_of_its_models():
    with (
        FakeNode({"asr": {}, "llm": {}}) as node,
        open_pipeline("voice", server=node.url) as pipeline,
    ):
        assert (list(pipeline), len(pipeline), "asr" in pipeline) == (["asr", "llm"], 2, True)
        with pytest.raises(KeyError, match="asr, llm"):
            pipeline["tts"]


def test_one_model_is_ready_while_another_still_arrives(saved):
    with FakeNode({"asr": {"model.safetensors": saved}, "llm": {"w": b"w"}}) as node:
        gate = node.gate("llm", "w", 0)
        with open_pipeline("voice", server=node.url, lanes=2) as pipeline:
            assert pipeline["asr"].state_dict().keys() == WEIGHTS.keys()
            gate.set()


def test_a_failure_reaches_everybody_who_waits():
    with one(b"x", "x") as node:
        node.faults.manifest_error = (403, OriginDeniedError("gated"))
        with open_pipeline("voice", server=node.url) as pipeline:
            for wait in (pipeline.wait, lambda: pipeline["asr"], lambda: list(pipeline)):
                with pytest.raises(OriginDeniedError, match="gated"):
                    wait()


def test_a_copy_to_a_device_is_no_view(saved):
    with served(saved, device="meta") as pipeline:
        assert {t.device.type for t in pipeline["asr"].state_dict().values()} == {"meta"}


def test_the_report_has_the_contracts_fields(saved):
    with one(saved) as node, open_pipeline("voice", server=node.url) as pipeline:
        pipeline.wait()
        report = pipeline.report()
    assert (report["ok"], report["source"], report["device"]) == (True, "cache", "cpu")
    assert report["bytes"] == report["verified_bytes"] == len(saved)
    assert [p["name"] for p in report["phases"]] == ["manifest", "pull"]


def test_importing_the_agent_imports_neither_torch_nor_numpy_nor_a_framework():
    code = (
        "import sys, replica_agent.__main__, replica_agent.tensors;"
        "print(sorted({'torch','numpy','asyncio','pydantic','fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
