"""A GPU's driver in host memory: streams are queues, and errors come to order.

    driver = FakeDriver(memory=2**30)
    driver.fail("copy_in", after=3)                     # the fourth copy from here on
    driver.hold()                                       # nothing completes until ``let_go``
    driver.hold(0)                                      # nothing of the first device
    driver.complete(1)                                  # all that is queued on the second, now
    ... DeviceMemory(…, load=lambda: driver) ...
    driver.check_clean()

A queued copy reads its host memory when it is *run*, and it is run as late as the real driver may
do it: when somebody waits for an event behind it. Whoever reuses pinned memory too early has
wrong bytes here every time, not once in a thousand runs. Memory that was freed is filled with
0xDD, shared memory begins as 0xCD; addresses that nobody allocated are an error. What is shared is
a memfd: another process with a fake driver of its own can adopt it. DLPack calls it all host
memory, which it is, so that a torch without CUDA takes it.
"""

import ctypes
import itertools
import mmap
import os
import threading
import weakref
from collections import deque

from replica_agent.arenas.cuda.driver import DeviceInfo, DriverError

_HOST = 1  # kDLCPU
FREED = 0xDD
DIRTY = 0xCD  # what is in memory that was not cleared
SHARED = "fake-device-memory"  # name of the memfd that is shared device memory


class FakeDriver:
    def __init__(self, devices=1, memory=2**30, busy=()):
        self.devices = devices
        self.memory = memory  # bytes of each device
        self.busy = busy  # indices
        self.lock = threading.RLock()
        self.open_devices = 0
        self.peak = [0] * devices  # most bytes allocated at once
        self.pinned = self.peak_pinned = 0  # bytes
        self.allocated = [{} for _ in range(devices)]  # address -> memory, by device
        self.pins = {}
        self.registered = {}  # address -> bytes
        self.streams = {}
        self.events = {}
        self.calls = []
        self.numbers = itertools.count(1)
        self.graveyard = []  # freed memory stays mapped: who reads it sees FREED, and lives
        self._faults = {}  # call -> [calls left before it, error, for good]
        self._sick = {}  # index -> error
        self.stuck = [threading.Event() for _ in range(devices)]  # somebody waits for it, held
        self._gates = [threading.Event() for _ in range(devices)]
        self._device_of = {}  # stream -> index
        self.let_go()

    # Orders.

    def fail(self, call, after=0, error="CUDA_ERROR_UNKNOWN", *, for_good=False):
        """Have ``call`` fail; with ``for_good`` every later call on its device fails as well."""
        self._faults[call] = [after, error, for_good]

    def hold(self, *indices):
        """Have no copy of these devices complete, or of none; ``complete`` does it still."""
        for index in indices or range(self.devices):
            self._gates[index].clear()

    def let_go(self):
        for gate in self._gates:
            gate.set()

    def complete(self, index):
        """Have a device do now what is queued on it, though nobody waits for it."""
        with self.lock:
            for stream in [number for number, on in self._device_of.items() if on == index]:
                self.run(stream)

    # What is left.

    def check_clean(self):
        assert [len(a) for a in self.allocated] == [0] * self.devices, "device memory is left"
        assert not self.pins, "pinned memory is left"
        assert not self.registered, "memory is registered"
        assert not self.streams, "streams are left"
        assert not self.events, "events are left"
        assert not self.open_devices, "devices are open"

    # The port.

    def count(self):
        self.called("count")
        return self.devices

    def find(self, uuid):
        self.called("find")
        found = [n for n in range(self.devices) if _uuid(n) == uuid]
        if not found:
            raise DriverError(f"no device here is {uuid}")
        return found[0]

    def open(self, index):
        self.called("open", index)
        if index in self.busy:
            raise _error("open", "CUDA_ERROR_DEVICE_UNAVAILABLE")
        with self.lock:
            self.open_devices += 1
        return FakeDevice(self, index)

    def called(self, call, index=None):
        with self.lock:
            self.calls.append(call)
            if index in self._sick:
                raise _error(call, self._sick[index])
            fault = self._faults.get(call)
            if fault is None:
                return
            if fault[0] > 0:
                fault[0] -= 1
                return
            del self._faults[call]
            if fault[2]:
                self._sick[index] = fault[1]
            raise _error(call, fault[1])

    def wait_for_gate(self, index):
        if not self._gates[index].is_set():
            self.stuck[index].set()
        self._gates[index].wait()

    def add_stream(self, index):
        with self.lock:
            number = next(self.numbers)
            self.streams[number] = deque()
            self._device_of[number] = index
        return number

    def drop_stream(self, number):
        with self.lock:
            assert not self.streams[number], "a stream is closed while work is queued in it"
            del self.streams[number], self._device_of[number]

    def run(self, stream, until=None):
        """Run what is queued, up to an event."""
        queue = self.streams.get(stream, ())
        if until is not None and until not in queue:
            return
        while queue:
            what = queue.popleft()
            if callable(what):
                what()
            else:
                self.events[what] = None
                if what == until:
                    return

    def closed(self):
        with self.lock:
            self.open_devices -= 1


class FakeDevice:
    def __init__(self, driver, index):
        self.driver = driver
        self.index = index
        self.info = DeviceInfo(index, "Fake GPU", _uuid(index))
        self.dlpack = (_HOST, 0)
        self.memory = driver.allocated[index]
        weakref.finalize(self, driver.closed).atexit = False

    def room(self):
        self._called("room")
        used = sum(len(m) for m in self.memory.values())
        return self.driver.memory - used, self.driver.memory

    def allocate(self, size):
        self._called("allocate")
        with self.driver.lock:
            used = sum(len(m) for m in self.memory.values()) + size
            if used > self.driver.memory:
                raise _error("allocate", "CUDA_ERROR_OUT_OF_MEMORY")
            self.driver.peak[self.index] = max(self.driver.peak[self.index], used)
            memory = mmap.mmap(-1, size)
            address = _address(memory)
            self.memory[address] = memory
        return address

    def free(self, address):
        self._called("free")
        with self.driver.lock:
            memory = self.memory.pop(address)
            memory[:] = bytes([FREED]) * len(memory)
            self.driver.graveyard.append(memory)

    def share(self, size):
        self._called("share")
        descriptor = os.memfd_create(SHARED, os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, size)
            return self._map(descriptor, size, "share"), descriptor
        except DriverError:
            os.close(descriptor)
            raise

    def adopt(self, descriptor, size):
        self._called("adopt")
        return self._map(descriptor, size, "adopt", ours=False)

    def _map(self, descriptor, size, call, *, ours=True):
        with self.driver.lock:
            used = sum(len(m) for m in self.memory.values()) + size
            if ours and used > self.driver.memory:
                raise _error(call, "CUDA_ERROR_OUT_OF_MEMORY")
            memory = mmap.mmap(descriptor, size)
            if ours:
                self.driver.peak[self.index] = max(self.driver.peak[self.index], used)
                memory[:] = bytes([DIRTY]) * size
            address = _address(memory)
            self.memory[address] = memory
        return address

    def unmap(self, address):
        self._called("unmap")
        with self.driver.lock:
            del self.memory[address]  # others may have it: it goes with the last mapping

    def clear(self, address, size):
        self._called("clear")
        with self.driver.lock:
            self._place(address, size)[:] = bytes(size)

    def register(self, data):
        self._called("register")
        begin, size = _address(data), len(data)
        assert not (begin | size) % mmap.PAGESIZE, "only whole pages are registered"
        with self.driver.lock:
            for other, held in self.driver.registered.items():
                assert begin >= other + held or begin + size <= other, "registered twice"
            self.driver.registered[begin] = size

    def unregister(self, data):
        self._called("unregister")
        with self.driver.lock:
            del self.driver.registered[_address(data)]

    def pin(self, size):
        self._called("pin")
        driver = self.driver
        with driver.lock:
            memory = mmap.mmap(-1, size)
            address = _address(memory)
            driver.pins[address] = memory
            driver.pinned += size
            driver.peak_pinned = max(driver.peak_pinned, driver.pinned)
        return address

    def unpin(self, address):
        self._called("unpin")
        with self.driver.lock:
            gone = self.driver.pins.pop(address)
            gone[:] = bytes([FREED]) * len(gone)
            self.driver.graveyard.append(gone)
            self.driver.pinned -= len(gone)

    def open_stream(self):
        self._called("open_stream")
        return self.driver.add_stream(self.index)

    def drain(self, stream):
        self._called("drain")
        self.driver.wait_for_gate(self.index)
        with self.driver.lock:
            self.driver.run(stream)

    def close_stream(self, stream):
        self._called("close_stream")
        self.driver.drop_stream(stream)

    def open_event(self):
        self._called("open_event")
        with self.driver.lock:
            number = next(self.driver.numbers)
            self.driver.events[number] = None  # the stream that it was recorded in
        return number

    def close_event(self, event):
        self._called("close_event")
        with self.driver.lock:
            del self.driver.events[event]

    def copy_in(self, address, data, stream):
        self._called("copy_in")
        with self.driver.lock:
            self._check_pinned(data, len(data))
            self._place(address, len(data))
            self.driver.streams[stream].append(lambda: _copy(self._place(address, len(data)), data))

    def copy_in_2d(self, address, stride, data, pitch, run, runs, stream):
        self._called("copy_in_2d")
        assert min(stride, pitch) >= run > 0 < runs, "runs overlap, or there are none"
        with self.driver.lock:
            self._check_pinned(data, (runs - 1) * pitch + run)
            self._place(address, (runs - 1) * stride + run)

            def copy():
                place = self._place(address, (runs - 1) * stride + run)
                for n in range(runs):
                    _copy(place[n * stride :][:run], data[n * pitch :][:run])

            self.driver.streams[stream].append(copy)

    def copy_out(self, data, address):
        self._called("copy_out")
        with self.driver.lock:
            data[:] = self._place(address, len(data))

    def record(self, event, stream):
        self._called("record")
        with self.driver.lock:
            assert self.driver.events[event] is None, "an event is recorded before it is done"
            self.driver.events[event] = stream
            self.driver.streams[stream].append(event)

    def wait(self, event):
        self._called("wait")
        self.driver.wait_for_gate(self.index)
        with self.driver.lock:
            stream = self.driver.events[event]
            if stream is not None:
                self.driver.run(stream, event)

    def _called(self, call):
        self.driver.called(call, self.index)

    def _check_pinned(self, data, size):
        begin, pins = _address(data), self.driver.pins.items()
        assert size <= len(data), "a copy reads more than it was given"
        if not any(a <= begin and begin + size <= a + len(m) for a, m in pins):
            raise AssertionError("the source of an asynchronous copy is not pinned")

    def _place(self, address, size):
        for begin, memory in self.memory.items():
            if begin <= address and address + size <= begin + len(memory):
                return memoryview(memory)[address - begin :][:size]
        raise _error("copy", "CUDA_ERROR_ILLEGAL_ADDRESS")


def _copy(place, data):
    place[:] = data


def _uuid(index):
    return f"GPU-00000000-0000-0000-0000-{index:012}"


def _address(memory):
    return ctypes.addressof(ctypes.c_ubyte.from_buffer(memory))


def _error(call, name):
    return DriverError(f"{call} failed with {name}: to order")
