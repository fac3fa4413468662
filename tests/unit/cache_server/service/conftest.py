from contextlib import contextmanager

import pytest

from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, chunks, running_service


@pytest.fixture
def origin():
    """One model: a small file and two and a half chunks of weights."""
    return MemoryOrigin({"config.json": b"{}", "w.dat": chunks(2.5)})


@pytest.fixture
def node(tmp_path, origin, quick_retries):
    """Make a service over one ROOT; ``with node() as bench`` again is a restart."""

    @contextmanager
    def start(origins=None, **more):
        opened = MemoryOrigins({SOURCE: origin, **(origins or {})})
        with running_service(tmp_path / "root", opened, **more) as bench:
            bench.origins = opened
            yield bench

    return start


@pytest.fixture
def bench(node):
    with node() as bench:
        bench.reconciled()
        yield bench
