"""Questions about plans on a disk that hangs: they take threads of their own, and end."""

import asyncio
import threading

import pytest

from cache_protocol.errors import DiskError
from cache_server.http import plan_readers
from cache_server.http.plan_readers import READERS, PlanReaders
from cache_server.service.disk_watch import SickDiskError

PLANS = "/v1/pipelines/voice/plans/m"
MANY = 50  # more than answer plain calls


@pytest.fixture
def hung(bench, monkeypatch):
    """Have every question about plans hang until the event is set."""
    well = threading.Event()
    for name in ("all", "read"):
        monkeypatch.setattr(bench.service.plans, name, lambda *_: well.wait(30) and [])
    yield well
    well.set()


def test_a_disk_that_hangs_under_plans_keeps_no_lease_from_being_renewed(api, hung):
    asking = [api.connect() for _ in range(MANY)]
    try:
        for n, connection in enumerate(asking):
            api.send(connection, "GET", PLANS if n % 2 else f"{PLANS}/{'0' * 32}")
        assert api.ask("PUT", "/v1/leases/x").status == 410
    finally:
        hung.set()
        for connection in asking:
            connection.close()


def test_who_asks_a_disk_that_hangs_is_told_in_time_also_in_line(monkeypatch):
    monkeypatch.setattr(plan_readers, "READ_LIMIT", 0.05)
    well = threading.Event()

    async def run() -> None:
        readers = PlanReaders(lambda: None)
        asked = [readers.ask(lambda: well.wait(30)) for _ in range(READERS + 1)]
        for told in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(told, DiskError)
            assert "no answer about plans" in str(told)
        well.set()

    asyncio.run(run())


def test_a_disk_that_is_known_to_be_sick_is_not_asked():
    def sick() -> None:
        raise SickDiskError("it hangs")

    async def run() -> None:
        with pytest.raises(SickDiskError):
            await PlanReaders(sick).ask(lambda: pytest.fail("it was asked"))

    asyncio.run(run())
