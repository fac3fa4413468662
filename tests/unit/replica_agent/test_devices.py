"""Tensors on CUDA devices, over the fake driver: its memory is the host's, its rules are not."""

import gc
import os
import subprocess
import sys

import pytest
import safetensors.torch
import torch

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import CapacityError, GenerationGoneError, MalformedError
from cache_protocol.safetensors_header import BITS
from replica_agent import open_pipeline
from replica_agent.arenas.cuda.allocation import Allocation
from replica_agent.arenas.cuda.dlpack import Bytes
from replica_agent.arenas.host import PAGE
from tests.fakes.cuda_driver import FakeDriver
from tests.fakes.lender import Lender
from tests.fakes.libcuda import compiled
from tests.fakes.node import FakeNode
from tests.fakes.on_devices import on_devices

FILE = "model.safetensors"
WEIGHTS = {
    f"layer.{n}": torch.randn(1024, 1024) for n in range(5)
}  # 20 MiB: more than the ring of a lane
SAVED = safetensors.torch.save(WEIGHTS)
LITTLE = {"a": torch.arange(6.0).reshape(2, 3), "none": torch.empty(0, 3), "b": torch.tensor(2.5)}


@pytest.fixture
def driver():
    made = FakeDriver(devices=2)
    yield made
    made.let_go()
    gc.collect()
    made.check_clean()


@pytest.fixture(scope="module")
def saved():
    return {FILE: SAVED, "config.json": b"{}"}


def little(**more):
    return {FILE: safetensors.torch.save({**LITTLE, **more})}


def same(state, truth):
    return state.keys() == truth.keys() and all(
        state[n].dtype == truth[n].dtype and torch.equal(state[n], truth[n]) for n in truth
    )


def holds(driver, index, tensor):
    places = driver.allocated[index].items()
    return any(a <= tensor.data_ptr() < a + len(memory) for a, memory in places)


def test_a_state_dict_lies_in_device_memory_and_equals_the_safetensors_library(driver, saved):
    with FakeNode({"llm": saved}) as node, on_devices(node, driver) as pipeline:
        state = pipeline["llm"].state_dict()
    assert same(state, WEIGHTS)
    assert all(holds(driver, 0, tensor) for tensor in state.values())


def test_every_dtype_of_the_format_has_all_its_bits_there(driver):
    data = {dtype: bytes(n % 2 for n in range(48)) for dtype in sorted(BITS)}
    header, at = "", 0
    for dtype, content in data.items():
        shape = [len(content) * 8 // BITS[dtype] // 2, 2]
        header += (
            f',"{dtype}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{at},{at + 48}]}}'
        )
        at += 48
    text = f"{{{header[1:]}}}".encode()
    text += b" " * (-len(text) % 16)
    content = len(text).to_bytes(8, "little") + text + b"".join(data.values())
    with FakeNode({"llm": {FILE: content}}) as node, on_devices(node, driver) as pipeline:
        state, arrays = pipeline["llm"].state_dict(), pipeline["llm"].arrays()
    for dtype, expected in data.items():
        assert bytes(state[dtype].reshape(-1).view(torch.uint8).numpy()) == expected
        assert arrays[dtype].tobytes() == expected


def test_empty_tensors_and_scalars_have_their_shapes_there(driver):
    with FakeNode({"llm": little()}) as node, on_devices(node, driver) as pipeline:
        assert same(pipeline["llm"].state_dict(), LITTLE)
        assert same(dict(pipeline["llm"].stream()), LITTLE)


def test_a_misplaced_tensor_is_copied_there_and_right(driver):
    header = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
    header += b'"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}'
    header += b" " * (-len(header) % 8)
    numbers = torch.tensor([1.5, -2.5])
    content = len(header).to_bytes(8, "little") + header + b"\x07" + numbers.numpy().tobytes()
    with FakeNode({"llm": {FILE: content}}) as node, on_devices(node, driver) as pipeline:
        assert pipeline["llm"].state_dict()["b"].tolist() == [1.5, -2.5]
        assert pipeline["llm"].arrays()["b"].tolist() == [1.5, -2.5]


def test_a_stream_hands_tensors_out_while_later_chunks_are_missing(driver, saved):
    with FakeNode({"llm": saved}) as node:
        gate = node.gate("llm", FILE, 2)
        with on_devices(node, driver) as pipeline:
            stream = pipeline["llm"].stream()
            early = [next(stream) for _ in range(3)]  # 12 MiB: what two chunks make whole
            early_is_right = same(dict(early), {n: WEIGHTS[n] for n, _ in early})
            gate.set()
            rest = dict(stream)
    assert early_is_right
    assert same({**dict(early), **rest}, WEIGHTS)


def test_tensors_of_two_calls_share_their_memory(driver, saved):
    with FakeNode({"llm": saved}) as node, on_devices(node, driver) as pipeline:
        one, other = pipeline["llm"].state_dict(), pipeline["llm"].state_dict()
        assert all(one[n].data_ptr() == other[n].data_ptr() for n in one)


def test_device_memory_stays_until_the_last_tensor_is_gone(driver, saved):
    with FakeNode({"llm": saved}) as node, on_devices(node, driver) as pipeline:
        state = pipeline["llm"].state_dict()
        del pipeline
    gc.collect()
    last = state["layer.4"]
    del state
    assert torch.equal(last, WEIGHTS["layer.4"])
    assert driver.allocated[0]
    del last
    gc.collect()
    assert not driver.allocated[0]


def test_device_memory_is_the_model_and_host_memory_the_ring(driver, saved):
    with FakeNode({"llm": saved}) as node, on_devices(node, driver, limit=0) as pipeline:
        pipeline.wait()
    size = sum(len(content) for content in saved.values())
    assert size <= driver.peak[0] < size + PAGE * len(saved)
    assert driver.peak_pinned == 3 * CHUNK_SIZE  # three slots for the lane


def test_pinned_memory_goes_as_soon_as_everything_is_confirmed(driver, saved):
    with FakeNode({"llm": saved}) as node, on_devices(node, driver) as pipeline:
        pipeline.wait()
        assert (driver.pinned, driver.streams, driver.events) == (0, {}, {})


def test_a_model_can_have_a_device_of_its_own(driver):
    models = {"llm": little(), "tts": little(c=torch.ones(5)), "vad": little()}
    where = {"llm": "cuda:0", "tts": "cuda:1"}
    with FakeNode(models) as node, on_devices(node, driver, where) as pipeline:
        states = {name: pipeline[name].state_dict() for name in pipeline}
        assert pipeline.report()["device"] == "llm=cuda:0,tts=cuda:1"
    assert holds(driver, 0, states["llm"]["a"])
    assert holds(driver, 1, states["tts"]["c"])
    assert not any(holds(driver, n, states["vad"]["a"]) for n in range(2))
    assert same(states["vad"], LITTLE)


def test_files_and_arrays_are_copied_back_to_the_host(driver, saved):
    with FakeNode({"llm": saved}) as node, on_devices(node, driver) as pipeline:
        assert pipeline["llm"].read("config.json") == b"{}"
        assert pipeline["llm"].read(FILE) == SAVED
        assert (pipeline["llm"].arrays()["layer.3"] == WEIGHTS["layer.3"].numpy()).all()


def test_a_chunk_is_copied_only_when_its_digest_is_right(driver, saved):
    with FakeNode({"llm": saved}) as node:
        node.corrupt("llm", FILE, chunk=1, sends=2)
        with on_devices(node, driver) as pipeline:
            assert same(pipeline["llm"].state_dict(), WEIGHTS)
    assert driver.calls.count("copy_in") == -(-len(SAVED) // CHUNK_SIZE) + 1  # and config.json


def test_a_lost_connection_is_made_up_for(driver, saved):
    with FakeNode({"llm": saved}) as node:
        node.faults.cut_after += [CHUNK_SIZE // 2, 3, CHUNK_SIZE - 1]
        with on_devices(node, driver) as pipeline:
            assert same(pipeline["llm"].state_dict(), WEIGHTS)


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_chunk_whose_digest_did_not_come_is_brought_again(driver, saved, lanes):
    with FakeNode({"llm": saved}) as node:
        node.faults.raw += [("digests", b"HTTP/1.1 200 OK\r\n\r\n")] * 3
        with on_devices(node, driver, lanes=lanes) as pipeline:
            assert same(pipeline["llm"].state_dict(), WEIGHTS)
    assert len(node.requests("files")) > -(-len(SAVED) // CHUNK_SIZE) + 1


@pytest.mark.parametrize("lanes", [1, 3])
def test_files_of_a_node_on_this_host_are_read_into_the_ring(driver, saved, tmp_path, lanes):
    models = {"llm": saved, "tts": {"w": SAVED[::-1]}}
    with (
        FakeNode(models) as node,
        Lender(tmp_path, models) as lender,
        on_devices(node, driver, lanes=lanes, local=lender.path) as pipeline,
    ):
        assert same(pipeline["llm"].state_dict(), WEIGHTS)
        assert pipeline["tts"].read("w") == SAVED[::-1]
        assert pipeline.report()["local_bytes"] == 2 * len(SAVED) + 2
    assert not node.requests("files")


def test_rot_on_the_disk_of_this_host_never_reaches_the_device(driver, saved, tmp_path):
    with FakeNode({"llm": saved}) as node, Lender(tmp_path, {"llm": saved}) as lender:
        with lender.file("llm", FILE).open("r+b") as file:
            file.seek(CHUNK_SIZE + 5)
            file.write(b"rot")
        with on_devices(node, driver, local=lender.path) as pipeline:
            assert same(pipeline["llm"].state_dict(), WEIGHTS)
    assert driver.calls.count("copy_in") == -(-len(SAVED) // CHUNK_SIZE) + 1


def test_another_generation_gets_memory_once_that_of_the_first_is_given_up(driver, saved):
    driver.memory = len(SAVED) + 2**20  # two do not fit
    other = SAVED[:-1] + b"\0"
    with FakeNode({"llm": saved}) as node:
        gate = node.gate("llm", FILE, 2)
        with on_devices(node, driver) as pipeline:
            transfer = pipeline._pull.transfer()
            while len(transfer.arrivals("llm", 0)) < 2:
                transfer.arrivals("llm", len(transfer.arrivals("llm", 0)))
            node.replace({"llm": {FILE: other}})
            gate.set()
            assert pipeline["llm"].read(FILE) == other
            assert pipeline.report().get("notes", []) == []


def test_a_pipeline_is_closed_while_copies_are_under_way(driver, saved):
    with FakeNode({"llm": saved}) as node:
        node.gate("llm", FILE, 2)
        with on_devices(node, driver) as pipeline:
            transfer = pipeline._pull.transfer()
            transfer.arrivals("llm", 0)
            del transfer


# A device that cannot be used: host memory takes its place, and the report says why.


def falls_back(node, driver, why, device="cuda:0"):
    with on_devices(node, driver, device) as pipeline:
        pipeline.wait()
        assert pipeline["llm"].read(FILE) == SAVED
        (note,) = pipeline.report()["notes"]
    assert why in note
    return note


def test_a_host_without_a_device_falls_back(saved):
    with FakeNode({"llm": saved}) as node:
        falls_back(node, FakeDriver(devices=0), "this host has no device")


def test_a_busy_device_falls_back(driver, saved):
    driver.busy = {0}
    with FakeNode({"llm": saved}) as node:
        falls_back(node, driver, "CUDA_ERROR_DEVICE_UNAVAILABLE")


def test_too_little_device_memory_falls_back_and_says_the_numbers(driver, saved):
    driver.memory = 10_000_000
    with FakeNode({"llm": saved}) as node:
        note = falls_back(node, driver, "10000000")
    assert "llm need 2097" in note
    assert "allocate" not in driver.calls


@pytest.mark.parametrize("call", ["count", "open", "room", "allocate", "pin", "open_event"])
def test_a_driver_that_fails_at_the_start_falls_back(driver, saved, call):
    driver.fail(call, error="CUDA_ERROR_OUT_OF_MEMORY")
    with FakeNode({"llm": saved}) as node:
        falls_back(node, driver, "CUDA_ERROR_OUT_OF_MEMORY")


@pytest.mark.parametrize(
    ("call", "after"),
    [("open_stream", 0), ("copy_in", 0), ("copy_in", 2), ("record", 1), ("wait", 2)],
)
def test_a_driver_error_in_the_middle_falls_back_and_the_pull_goes_on(driver, saved, call, after):
    driver.fail(call, after)
    with FakeNode({"llm": saved}) as node:
        falls_back(node, driver, "CUDA_ERROR_UNKNOWN")
    assert node.leases == set()


def test_a_device_that_fails_for_good_in_the_middle_falls_back(saved, caplog):
    driver = FakeDriver()
    driver.fail("copy_in", after=2, error="CUDA_ERROR_ECC_UNCORRECTABLE", for_good=True)
    with FakeNode({"llm": saved}) as node:
        falls_back(node, driver, "CUDA_ERROR_ECC_UNCORRECTABLE")
    gc.collect()
    assert "Fake GPU" in caplog.text  # what could not be given back is said


def test_one_device_that_fails_leaves_the_others_alone(driver):
    driver.busy = {1}
    models = {"llm": little(), "tts": little()}
    where = {"llm": "cuda:0", "tts": "cuda:1"}
    with FakeNode(models) as node, on_devices(node, driver, where) as pipeline:
        assert holds(driver, 0, pipeline["llm"].state_dict()["a"])
        assert (pipeline["tts"].arrays()["a"] == LITTLE["a"].numpy()).all()


def test_a_stream_says_so_when_the_device_fails_after_it_handed_tensors_out(driver, saved):
    with FakeNode({"llm": saved}) as node:
        gate = node.gate("llm", FILE, 2)
        with on_devices(node, driver) as pipeline:
            stream = pipeline["llm"].stream()
            first = next(stream)
            driver.fail("copy_in", error="CUDA_ERROR_ILLEGAL_ADDRESS")
            gate.set()
            with pytest.raises(GenerationGoneError, match=r"device.*ILLEGAL_ADDRESS.*load again"):
                list(stream)
            assert torch.equal(first[1], WEIGHTS[first[0]])
            assert pipeline["llm"].read(FILE) == SAVED


@pytest.mark.parametrize("way", ["state_dict", "arrays", "stream"])
def test_a_device_that_fails_after_the_load_says_so_to_who_asks_then(driver, saved, way):
    with FakeNode({"llm": saved}) as node, on_devices(node, driver) as pipeline:
        pipeline.wait()
        driver.fail("copy_out", error="CUDA_ERROR_LAUNCH_FAILED")
        with pytest.raises(
            GenerationGoneError, match=r"llm was lost with its device: cuda:0.*LAUNCH"
        ):
            list(getattr(pipeline["llm"], way)())


def test_a_device_that_fails_where_the_host_has_no_room_either_is_an_error(driver, saved):
    driver.busy = {0}
    with (
        FakeNode({"llm": saved}) as node,
        on_devices(node, driver, limit=1000) as pipeline,
        pytest.raises(CapacityError, match="1000 bytes"),
    ):
        pipeline.wait()


# What nobody can mean.


def test_an_index_that_no_device_has_is_an_error_that_names_those_there_are(driver, saved):
    with (
        FakeNode({"llm": saved}) as node,
        on_devices(node, driver, "cuda:2") as pipeline,
        pytest.raises(MalformedError, match=r"no cuda:2: the devices here are 0 to 1"),
    ):
        pipeline.wait()


def test_a_mistake_about_one_device_leaves_nothing_on_another(driver):
    where = {"llm": "cuda:0", "tts": "cuda:2"}
    with (
        FakeNode({"llm": little(), "tts": little()}) as node,
        on_devices(node, driver, where) as pipeline,
        pytest.raises(MalformedError, match="no cuda:2"),
    ):
        pipeline.wait()
    assert (driver.pinned, driver.streams, driver.events) == (0, {}, {})


def test_a_model_that_the_pipeline_does_not_have_is_an_error(driver, saved):
    with (
        FakeNode({"llm": saved}) as node,
        on_devices(node, driver, {"lml": "cuda:0"}) as pipeline,
        pytest.raises(MalformedError, match=r"no model 'lml'; it has llm"),
    ):
        pipeline.wait()


@pytest.mark.parametrize("word", ["cuda:one", "cuda:", "cuda:-1", "cuda:01", "cudaa"])
def test_a_word_that_is_no_device_is_an_error_at_once(word):
    with pytest.raises(MalformedError, match="cuda:0, cuda:1"):
        open_pipeline("voice", device={"llm": word})


# What a process has to do with it.


def in_a_child(code, **environment):
    env = {**os.environ, **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip()


IMPORTED = """if True:
    import gc, sys
    from replica_agent import open_pipeline
    with open_pipeline("voice", server="{url}", device="{device}") as pipeline:
        pipeline.wait()
        notes = pipeline.report().get("notes", [])
    del pipeline
    gc.collect()
    print(sorted({{"torch", "cuda.bindings", "numpy"}} & set(sys.modules)), len(notes))
"""


def test_neither_the_driver_nor_torch_is_imported_for_host_memory(saved):
    with FakeNode({"llm": saved}) as node:
        assert in_a_child(IMPORTED.format(url=node.url, device="cpu")) == "[] 0"


def test_torch_is_not_imported_for_bytes_on_a_device(saved, tmp_path):
    where = str(compiled(tmp_path))
    with FakeNode({"llm": saved}) as node:
        code = IMPORTED.format(url=node.url, device="cuda:0")
        said = in_a_child(code, LD_LIBRARY_PATH=where)
    assert "cuda.bindings" in said
    assert "torch" not in said
    assert said.endswith(" 0")  # notes: the device was used


def test_torch_is_not_imported_where_no_device_is_either():
    with FakeNode({"llm": {"config.json": b"{}"}}) as node:
        code = IMPORTED.format(url=node.url, device="cuda:0")
        said = in_a_child(code, CUDA_VISIBLE_DEVICES="")
    assert "torch" not in said


def test_a_process_ends_well_while_tensors_still_use_device_memory():
    code = """if True:
        import sys, torch
        from replica_agent.arenas.cuda.allocation import Allocation
        from replica_agent.arenas.cuda.dlpack import Bytes
        from tests.fakes.cuda_driver import FakeDriver
        sys.kept = torch.from_dlpack(Bytes(Allocation(FakeDriver().open(0), 4096), 0, 4096))
        torch.kept = [sys.kept[:10]]
        print(len(sys.kept))
    """
    assert in_a_child(code) == "4096"


def test_a_capsule_that_nobody_takes_keeps_nothing(driver):
    capsule = Bytes(Allocation(driver.open(0), 4096), 0, 4096).__dlpack__()
    gc.collect()
    assert driver.allocated[0]
    del capsule
    gc.collect()
    assert not driver.allocated[0]
