"""The real driver's file over the real package cuda-bindings, and a stand-in for libcuda below.

The stand-in is compiled here, and every test is a process of its own that finds it.
"""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent

import pytest

from tests.fakes.libcuda import compiled
from tests.fakes.node import FakeNode

PROGRAM = """
import gc, os, threading, weakref
from replica_agent.arenas.cuda.allocation import pinned
from replica_agent.arenas.cuda.bindings import load_driver
from replica_agent.arenas.cuda.driver import DriverError
from replica_agent.arenas.cuda.shared import SharedMemory

def reason(act, *arguments):
    try:
        act(*arguments)
    except DriverError as error:
        return str(error)

def main():
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("libcuda"))


def child(library, code, left=0, **environment):
    """Return what a child prints that finds ``library``.

    It must end well, and silently but for how many things it could not give back.
    """
    env = {**os.environ, "LD_LIBRARY_PATH": str(library), **environment}
    program = PROGRAM + indent(dedent(code), "    ") + "\nmain()\ngc.collect()\n"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    said = f"{left} things of the driver were not given back\n" if left else ""
    assert (done.returncode, done.stderr) == (0, said)
    return done.stdout.splitlines()


def test_bytes_go_to_a_device_and_back_and_everything_is_given_back(library):
    code = """
    driver = load_driver()
    device = driver.open(1)
    place, memory = device.allocate(1000), pinned(device, 4096)
    stream, event = device.open_stream(), device.open_event()
    memory[:5] = b"hello"
    device.copy_in(place + 10, memory[:5], stream)
    device.record(event, stream)
    device.wait(event)
    back = bytearray(5)
    device.copy_out(memoryview(back), place + 10)
    device.drain(stream)
    print(driver.count(), device.info, device.dlpack, device.room(), bytes(back))
    device.close_stream(stream)
    device.close_event(event)
    device.free(place)
    """
    (line,) = child(library, code)
    uuid = "GPU-00000000-0000-0000-0000-000000000001"
    assert line == f"2 cuda:1 (Stand-in 1, {uuid}) (2, 1) ({2**30}, {2**30}) b'hello'"


def test_a_device_that_nobody_refers_to_is_closed_without_a_collection(library):
    code = """
    gc.disable()
    device = load_driver().open(0)
    device.unmap(device.share(10)[0])
    gone = threading.Event()
    weakref.finalize(device, gone.set)
    del device
    print(gone.is_set())
    """
    assert child(library, code) == ["True"]


@pytest.mark.parametrize("stride", [64, 2**20 + 1])  # and more than a call of the stand-in takes
def test_runs_go_to_places_that_are_so_far_apart(library, stride):
    code = f"""
    device = load_driver().open(0)
    place, memory = device.allocate(2**22), pinned(device, 4096)
    device.clear(place, 2**22)
    stream = device.open_stream()
    memory[:12] = b"ab..cd..ef.."
    device.copy_in_2d(place + 3, {stride}, memory[:12], 4, 2, 3, stream)
    device.drain(stream)
    back = bytearray(2**22)
    device.copy_out(memoryview(back), place)
    print([back[3 + n * {stride} :][:2].decode() for n in range(3)], sum(map(bool, back)))
    device.close_stream(stream)
    device.free(place)
    """
    assert child(library, code) == ["['ab', 'cd', 'ef'] 6"]


def test_shared_memory_is_that_of_whoever_adopts_it_and_outlives_who_made_it(library):
    code = """
    driver = load_driver()
    maker, taker = driver.open(1), driver.open(driver.find(driver.open(1).info.uuid))
    made, descriptor = maker.share(5_000_000)
    print(os.get_inheritable(descriptor), os.fstat(descriptor).st_size)
    taken = taker.adopt(descriptor, 5_000_000)
    os.close(descriptor)
    maker.clear(made, 5_000_000)
    back = bytearray(9)
    maker.unmap(made)
    taker.copy_out(memoryview(back), taken + 4_999_991)
    taker.unmap(taken)
    print(bytes(back) == bytes(9))
    """
    assert child(library, code) == [f"False {6 * 2**20}", "True"]


@pytest.mark.parametrize(
    "call",
    [
        *("cuMemCreate", "cuMemExportToShareableHandle", "cuMemAddressReserve"),
        *("cuMemMap", "cuMemSetAccess", "cuMemImportFromShareableHandle"),
        "cuMemGetAllocationGranularity",
    ],
)
def test_nothing_is_left_of_shared_memory_that_cannot_be_had(library, call):
    code = """
    device = load_driver().open(0)
    before = os.listdir("/proc/self/fd")
    print(reason(lambda: device.unmap(device.share(10)[0])))
    print(reason(device.adopt, os.open("/dev/null", os.O_RDONLY), 10))
    print(len(os.listdir("/proc/self/fd")) - len(before))
    """
    share, adopt, left = child(library, code, LIBCUDA_FAIL=f"{call} 999")
    ours = share if call != "cuMemImportFromShareableHandle" else adopt
    assert ours.startswith(f"{call} failed with CUDA_ERROR_UNKNOWN")
    assert left == ("2" if share == "None" else "1")  # those that the child itself holds


def test_of_memory_whose_handle_cannot_be_released_no_mapping_and_no_descriptor_is_left(library):
    code = """
    device = load_driver().open(0)
    before = len(os.listdir("/proc/self/fd"))
    file = os.memfd_create("shared")
    os.ftruncate(file, 2 * 2**20)
    print(reason(device.share, 10).split()[0], reason(device.adopt, file, 10).split()[0])
    mapped = sum("memfd:shared" in line for line in open("/proc/self/maps"))
    print(mapped, len(os.listdir("/proc/self/fd")) - before, device._shared._sizes)
    """
    said, left = child(library, code, left=2, LIBCUDA_FAIL="cuMemRelease 999")  # the handles
    assert said == "cuMemRelease cuMemRelease"
    assert left == "0 3 {}"  # the child's own file, and one in each handle


@pytest.mark.parametrize(("call", "left"), [("cuMemUnmap", 2), ("cuMemAddressFree", 1)])
def test_what_cannot_be_unmapped_is_said(library, call, left):
    code = """
    device = load_driver().open(0)
    address, descriptor = device.share(10)
    os.close(descriptor)
    print(reason(device.unmap, address), device._shared._sizes)
    """
    (line,) = child(library, code, left=left, LIBCUDA_FAIL=f"{call} 999")
    assert line.startswith(f"{call} failed with CUDA_ERROR_UNKNOWN")
    assert line.endswith("{}")


def test_nothing_is_left_of_shared_memory_that_cannot_be_cleared(library):
    code = """
    device = load_driver().open(0)
    before = len(os.listdir("/proc/self/fd"))
    print(reason(SharedMemory, device, 10), len(os.listdir("/proc/self/fd")) - before)
    """
    (line,) = child(library, code, LIBCUDA_FAIL="cuMemsetD8 999")
    assert line.startswith("cuMemsetD8 failed with CUDA_ERROR_UNKNOWN")
    assert line.endswith(" 0")


def test_a_device_that_is_for_one_process_at_a_time_shares_nothing(library):
    code = "print(reason(load_driver().open(0).share, 10))"
    (line,) = child(library, code, LIBCUDA_EXCLUSIVE="1")
    assert line.endswith("an engine needs it too: nvidia-smi -c DEFAULT")


def test_a_device_is_found_by_its_uuid_without_opening_any(library):
    code = """
    driver = load_driver()
    print(driver.find("GPU-00000000-0000-0000-0000-000000000001"))
    print(reason(driver.find, "GPU-1"))
    """
    seen = [f"GPU-00000000-0000-0000-0000-00000000000{n}" for n in range(2)]
    assert child(library, code, LIBCUDA_FAIL="cuDevicePrimaryCtxRetain 1") == [
        "1",
        f"no device here is GPU-1; this process sees {', '.join(seen)}",
    ]


def test_host_memory_is_registered_as_read_only_and_given_back(library):
    code = """
    device, memory = load_driver().open(0), pinned(load_driver().open(0), 4096)
    device.register(memory)
    print(reason(device.register, memory))
    device.unregister(memory)
    """
    (again,) = child(library, code)
    assert "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED" in again


def test_an_error_has_the_drivers_name_for_it_and_its_words(library):
    code = "device = load_driver().open(0); print(reason(device.allocate, 2**40))"
    assert child(library, code) == [
        "cuMemAlloc failed with CUDA_ERROR_OUT_OF_MEMORY: out of memory"
    ]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("cuInit 100", "CUDA_ERROR_NO_DEVICE"),
        ("cuInit 803", "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
        ("cuDevicePrimaryCtxRetain 46", "CUDA_ERROR_DEVICE_UNAVAILABLE"),
    ],
)
def test_a_device_that_cannot_be_had_says_why(library, order, expected):
    code = "print(reason(lambda: load_driver().open(0)))"
    (line,) = child(library, code, LIBCUDA_FAIL=order)
    assert f" failed with {expected}: " in line


def test_a_host_without_the_library_says_so(tmp_path):
    code = "print(reason(load_driver))"
    try:
        (line,) = child(tmp_path, code)
    except ValueError:
        pytest.skip("this host has the real library")
    assert line.startswith("no driver can be loaded: ")


def test_the_threads_current_context_stays_what_it_was(library):
    code = """
    from cuda.bindings import driver as cuda
    devices = [load_driver().open(index) for index in range(2)]
    cuda.cuCtxPushCurrent(devices[0]._context)
    devices[1].room()
    (_, left), (status, *_) = cuda.cuCtxPopCurrent(), cuda.cuCtxPopCurrent()
    print(int(left) == int(devices[0]._context), status.name)
    """
    assert child(library, code) == ["True CUDA_ERROR_INVALID_CONTEXT"]


def test_other_threads_run_while_one_waits_for_the_device(library):
    code = """
    device = load_driver().open(0)
    event, ran = device.open_event(), threading.Event()
    waiting = threading.Thread(target=lambda: (device.wait(event), print("waited", ran.is_set())))
    waiting.start()
    ran.set()
    waiting.join()
    device.close_event(event)
    """
    assert child(library, code, LIBCUDA_PAUSE="200000") == ["waited True"]


def test_a_pipeline_comes_through_the_real_bindings(library):
    content = os.urandom(20_000_000)
    code = """
    import hashlib
    from replica_agent import open_pipeline
    with open_pipeline("voice", server="{url}", device="cuda:1") as pipeline:
        print(hashlib.sha256(pipeline["llm"].read("w")).hexdigest(), pipeline.report().get("notes"))
    """
    with FakeNode({"llm": {"w": content}}) as node:
        (line,) = child(library, code.format(url=node.url))
        promised = node.manifest().models["llm"].files[0].sha256
    assert line == f"{promised} None"


def test_the_contract_of_arenas_holds_over_the_real_bindings(library):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu"]
    command += ["-k", "any_order or side_by_side or next_generation"]  # the rest costs seconds
    done = subprocess.run(
        [*command, "tests/contract/test_arena.py"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LD_LIBRARY_PATH": str(library)},
        cwd=Path(__file__).parents[4],
    )
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout
