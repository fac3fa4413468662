from contextlib import contextmanager

import pytest

from cache_server.core.content import ModelSpec
from cache_server.doors.holds import Holds
from cache_server.doors.hub.routes import hub_annex
from cache_server.doors.shelf import Shelf
from cache_server.http.api import by_token
from tests.fakes.control_plane import control_plane
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import chunks, running_service

SOURCE = "hf://org/name"
SMALL, LARGE = b'{"small": true}', chunks(0.15)


def new_origin():
    files = {"config.json": SMALL, "sub/empty.txt": b"", "w.dat": LARGE}
    return MemoryOrigin(files, git={"config.json", "sub/empty.txt"})


@contextmanager
def open_door(bench, **options):
    """Serve ``bench`` with the hub's door."""
    holds = Holds(bench.service, monotonic=bench.clock.monotonic)

    def doors(service, wiring):
        return [hub_annex(Shelf(service, holds), wiring.data, by_token(wiring))]

    with control_plane(bench.service, doors=doors, **options) as plane:
        yield plane


def fill(bench):
    bench.put(ModelSpec("m", SOURCE))
    assert bench.warm() is None


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    """A warm slot behind the door, for tests that leave everything as it was."""
    directory = tmp_path_factory.mktemp("door")
    with running_service(directory, MemoryOrigins({SOURCE: new_origin()})) as bench:
        bench.reconciled()
        fill(bench)
        with open_door(bench) as plane:
            plane.bench = bench
            plane.commit = bench.slot().current.content.models[0].revision
            yield plane


@pytest.fixture
def origin():
    return new_origin()


@pytest.fixture
def bench(tmp_path, origin, quick_retries):
    with running_service(tmp_path / "root", MemoryOrigins({SOURCE: origin})) as bench:
        bench.reconciled()
        yield bench


@pytest.fixture
def warm(bench):
    fill(bench)
    return bench


@pytest.fixture
def api(bench):
    """The door of a slot of this test's own."""
    with open_door(bench) as plane:
        yield plane
