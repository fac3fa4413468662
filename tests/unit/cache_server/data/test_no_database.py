"""A read on the data plane asks no database: a ticket says all that has to be known."""

import threading
from contextlib import closing

import pytest

from cache_protocol.routes import DIGESTS, FILES, VERDICTS
from cache_server.catalogue.registry import Registry
from cache_server.data.plane import DataPlane
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.reader import KEYS, Reader, target
from tests.fakes.service import SOURCE, chunks, running_service


@pytest.fixture
def asked(monkeypatch):
    """Return the names of threads that have asked the database."""
    transaction, names = Registry.transaction, []

    def note(registry: Registry):
        names.append(threading.current_thread().name)
        return transaction(registry)

    monkeypatch.setattr(Registry, "transaction", note)
    return names


@pytest.mark.parametrize("kind", [FILES, DIGESTS, VERDICTS])
def test_a_ticket_is_judged_and_bytes_are_sent_without_a_look_into_the_database(
    tmp_path, asked, kind
):
    origins = MemoryOrigins({SOURCE: MemoryOrigin({"w.dat": chunks(1.5)})})
    with running_service(tmp_path / "root", origins) as bench:
        bench.put()
        assert bench.warm() is None
        assert asked  # as everything else does
        plane = DataPlane(bench.service.library, lambda: KEYS, host="127.0.0.1", port=0)
        plane.start()
        with closing(plane), Reader(plane.address) as reader:
            reply = reader.get(target("w.dat", kind=kind, generation=bench.open().id))
        assert (reply.status, reply.whole) == (200, True)
    assert not [name for name in asked if name.startswith("data-")]
