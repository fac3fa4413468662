"""The last start of each pipeline, read from a real ledger of boots."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from cache_protocol.errors import DiskError
from cache_server.catalogue.boots import Boots
from cache_server.catalogue.registry import Key, Registry
from cache_server.metrics import last_boots
from cache_server.metrics.last_boots import LastBoots
from tests.fakes.service import LIMIT

NOW = datetime(2026, 1, 2, tzinfo=UTC)
VOICE, TTS = Key("default", "voice"), Key("other", "tts")
BOTH = {VOICE, TTS}


class Watched(Boots):
    """A ledger that keeps how it was asked."""

    def __init__(self, registry):
        super().__init__(registry)
        self.asked = []
        self.broken = False
        self.meanwhile = None  # done once, between what was read and its return

    def last(self, tenant, only, limit):
        self.asked.append(only)
        if self.broken:
            raise DiskError("no")
        found = super().last(tenant, only, limit)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return found

    def last_of_each(self, tenant, only, limit):
        self.asked.append(only)
        if self.broken:
            raise DiskError("no")
        return super().last_of_each(tenant, only, limit)


class TellingLock:
    """A lock that tells when somebody wants it."""

    def __init__(self):
        self._lock = threading.Lock()
        self.wanted = threading.Event()

    def __enter__(self):
        self.wanted.set()
        self._lock.acquire()

    def __exit__(self, *_):
        self._lock.release()


@pytest.fixture
def ledger(tmp_path):
    registry = Registry(f"sqlite:///{tmp_path}/c.db")
    yield Watched(registry)
    registry.close()


def add(ledger, key, seconds, **phases):
    listed = [{"name": n.replace("_", "-"), "start": 0, "seconds": s} for n, s in phases.items()]
    report = {
        "pipeline": key.id,
        "start_path": "cold",
        "ok": True,
        "source": "cache",
        "weight_wait": 0.0,
        "time_to_ready": seconds,
        "phases": listed,
    }
    ledger.add(key, report, NOW + timedelta(seconds=seconds))


def test_the_last_one_of_each_pipeline_is_known_after_a_restart(ledger):
    add(ledger, VOICE, 3.0)
    add(ledger, VOICE, 2.0, pull=1.0, my_own=0.5, its_own=0.25)
    add(ledger, TTS, 9.0)
    known = LastBoots(ledger).read(BOTH)
    assert known.keys() == BOTH
    assert (known[VOICE].ready, known[VOICE].at) == (2.0, NOW + timedelta(seconds=2))
    assert known[VOICE].phases == {"pull": 1.0, "other": 0.75}


def test_only_what_changed_is_read_again(ledger):
    add(ledger, VOICE, 3.0)
    add(ledger, TTS, 9.0)
    boots = LastBoots(ledger)
    boots.read(BOTH)
    add(ledger, VOICE, 4.0)
    boots.changed(VOICE)
    ledger.asked.clear()
    assert (boots.read(BOTH)[VOICE].ready, boots.read(BOTH)[TTS].ready) == (4.0, 9.0)
    assert ledger.asked == [{"voice"}]


def test_when_much_changed_all_is_read_at_once(ledger, monkeypatch):
    monkeypatch.setattr(last_boots, "MAX_STALE", 1)
    boots = LastBoots(ledger)
    boots.read(BOTH)
    for key in BOTH:
        add(ledger, key, 1.0)
        boots.changed(key)
    ledger.asked.clear()
    assert boots.read(BOTH).keys() == BOTH
    assert ledger.asked == [None]


def test_pipelines_that_nobody_registered_take_no_memory(ledger):
    boots = LastBoots(ledger)
    for number in range(300):
        boots.changed(Key("default", f"made-up-{number}"))
        add(ledger, Key("default", f"made-up-{number}"), 1.0)
    add(ledger, VOICE, 3.0)
    assert boots.read({VOICE}).keys() == {VOICE}
    assert (boots._known.keys(), boots._fresh) == ({VOICE}, {VOICE})


def test_a_pipeline_that_is_registered_after_its_start_was_reported_is_read_then(ledger):
    add(ledger, TTS, 9.0)
    boots = LastBoots(ledger)
    assert boots.read({VOICE}) == {}
    assert boots.read(BOTH).keys() == {TTS}


def test_after_a_failure_nothing_is_missed(ledger):
    add(ledger, VOICE, 3.0)
    boots = LastBoots(ledger)
    ledger.broken = True
    with pytest.raises(DiskError):
        boots.read(BOTH)
    ledger.broken = False
    assert boots.read(BOTH).keys() == {VOICE}


def read_while(boots, ledger, shown, change=lambda: None):
    """Read ``shown``; before that ends there is a change, and somebody else reads both."""
    boots._reading = lock = TellingLock()
    others = []

    def overlap():
        change()
        lock.wanted.clear()
        others.append(pool.submit(boots.read, BOTH))
        others[0].add_done_callback(lambda _: lock.wanted.set())
        assert lock.wanted.wait(LIMIT)

    with ThreadPoolExecutor(1) as pool:
        ledger.meanwhile = overlap
        boots.read(shown)
        return others[0].result(LIMIT)


def test_of_scrapes_that_overlap_each_has_all_that_it_shows(ledger):
    add(ledger, VOICE, 3.0)
    add(ledger, TTS, 9.0)
    boots = LastBoots(ledger)
    assert read_while(boots, ledger, {VOICE}).keys() == BOTH
    assert boots.read(BOTH).keys() == BOTH


def test_what_changed_during_a_scrape_is_not_put_back_by_it(ledger):
    def change():
        add(ledger, VOICE, 4.0)
        boots.changed(VOICE)

    add(ledger, VOICE, 3.0)
    boots = LastBoots(ledger)
    read_while(boots, ledger, {VOICE}, change)
    assert boots.read(BOTH)[VOICE].ready == 4.0


def test_slower_starts_are_known_by_the_phase_that_grew(ledger):
    for seconds in [10.0] * 20 + [14.0] * 10:
        add(ledger, VOICE, seconds, load=seconds)
    regression = LastBoots(ledger).read(BOTH)[VOICE].regression
    assert (regression.growth, regression.phase) == (4.0, "load")
