import pytest

from tests.fakes.control_plane import control_plane
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, chunks, running_service


@pytest.fixture
def origin():
    return MemoryOrigin({"config.json": b"{}", "w.dat": chunks(0.2)})


@pytest.fixture
def slow():
    """Another origin, for what must not wait for the first."""
    return MemoryOrigin({"w.dat": chunks(0.1, seed=2)})


@pytest.fixture
def bench(tmp_path, origin, slow, quick_retries):
    origins = MemoryOrigins({SOURCE: origin, "file:///slow": slow})
    with running_service(tmp_path / "root", origins, capacity=100 * 2**20) as bench:
        bench.reconciled()
        yield bench


@pytest.fixture
def api(bench):
    with control_plane(bench.service) as plane:
        yield plane
