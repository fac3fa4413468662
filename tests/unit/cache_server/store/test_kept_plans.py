import errno
import os
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from cache_protocol.errors import CapacityError, DiskError, PlanRefusedError
from cache_protocol.plans import Plan, dump_plan, parse_plan
from cache_server.store import durable, kept_plans
from cache_server.store.kept_plans import LEAST_ROOM, MOST_ROOM, KeptPlans
from cache_server.store.plan_index import MAX_PLANS, Record
from tests.fakes.plans import plan

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
PLAN = plan()


@pytest.fixture
def generation(tmp_path):
    directory = tmp_path / "generation"
    directory.mkdir()
    return directory


@pytest.fixture
def plans(generation):
    return KeptPlans(generation / "plans", 0)


def keep(plans: KeptPlans, what: Plan, model: str = "m", *, hours: float = 0) -> Record:
    document = dump_plan(what)
    stored = NOON + timedelta(hours=hours)
    plans.write(model, what.key, document, stored)
    return Record(what.key, what.fingerprint, len(document), stored)


def nth(n: int) -> Plan:
    """Return a plan of the ``n``th version of an engine."""
    return plan(version=str(n))


def digests(plans: KeptPlans, model: str = "m") -> set[str]:
    return {record.key.digest for record in plans.all(model)}


def test_nothing_is_kept_of_a_generation_that_nobody_traced(plans, generation):
    assert plans.all("m") == []
    assert plans.read("m", PLAN.key.digest) is None
    assert list(generation.iterdir()) == []


def test_what_was_written_is_read_and_listed(plans):
    record = keep(plans, PLAN)
    assert plans.all("m") == [record]
    assert parse_plan(plans.read("m", PLAN.key.digest)) == PLAN


def test_it_is_there_after_a_restart(plans, generation):
    record = keep(plans, PLAN)
    again = KeptPlans(generation / "plans", 0)
    assert again.all("m") == [record]
    assert again.read("m", PLAN.key.digest) == dump_plan(PLAN)


def test_models_have_plans_of_their_own(plans):
    keep(plans, PLAN, "asr")
    assert plans.all("llm") == []
    assert plans.read("llm", PLAN.key.digest) is None


def test_another_plan_of_the_same_key_takes_its_place(plans):
    keep(plans, PLAN)
    newer = plan(files={"model.safetensors": 8192})
    record = keep(plans, newer, hours=1)
    assert plans.all("m") == [record]
    assert plans.read("m", PLAN.key.digest) == dump_plan(newer)


def test_an_equal_plan_is_not_written_again(plans, generation):
    first = keep(plans, PLAN)
    path = generation / "plans" / "m" / PLAN.key.digest
    before = path.stat()
    keep(plans, PLAN, hours=1)
    assert path.stat() == before
    assert plans.all("m") == [first]


def test_files_and_directories_are_for_the_node_s_user_alone(plans, generation):
    keep(plans, PLAN)
    modes = {p.stat().st_mode & 0o077 for p in (generation / "plans").rglob("*")}
    assert modes == {0}


def test_of_too_many_the_one_that_was_written_first_goes(plans):
    for n in range(MAX_PLANS):
        keep(plans, nth(n), hours=n)
    keep(plans, nth(99), hours=99)
    assert len(plans.all("m")) == MAX_PLANS
    assert nth(0).key.digest not in digests(plans)
    assert nth(99).key.digest in digests(plans)


def test_what_was_read_stays_longer_than_what_nobody_reads(plans):
    for n in range(MAX_PLANS):
        keep(plans, nth(n), hours=n)
    plans.read("m", nth(0).key.digest)
    keep(plans, nth(99), hours=99)
    assert nth(0).key.digest in digests(plans)
    assert nth(1).key.digest not in digests(plans)


def test_the_number_of_one_model_s_plans_is_not_that_of_another(plans):
    for n in range(MAX_PLANS):
        keep(plans, nth(n))
    keep(plans, plan(), "other")
    assert len(plans.all("m")) == MAX_PLANS


def test_all_models_share_one_room(plans):
    size = len(dump_plan(PLAN))
    plans.limit = 2 * size
    keep(plans, PLAN, "asr", hours=1)
    keep(plans, PLAN, "llm", hours=2)
    keep(plans, PLAN, "tts", hours=3)
    assert [len(plans.all(model)) for model in ("asr", "llm", "tts")] == [0, 1, 1]


def test_a_write_opens_no_other_plan_than_its_own_but_at_the_first(plans, generation, monkeypatch):
    several = [nth(n) for n in range(5)]
    for each in several[:3]:
        keep(plans, each)
    again, opened = KeptPlans(generation / "plans", 0), []
    counting(monkeypatch, opened)
    keep(again, several[3])
    assert len(opened) == 3  # its own is not there yet
    opened.clear()
    keep(again, several[4])
    keep(again, several[0], hours=1)
    assert opened == [several[0].key.digest]


def counting(monkeypatch, opened: list[str]) -> None:
    """Have the names of files that are opened to be read go to ``opened``."""
    really = kept_plans.open_to_read

    def open_to_read(path):
        descriptor = really(path)
        opened.append(path.name)
        return descriptor

    monkeypatch.setattr(kept_plans, "open_to_read", open_to_read)


def test_what_was_there_before_a_restart_counts_and_goes_first(generation):
    first = KeptPlans(generation / "plans", 0)
    for n in range(MAX_PLANS):
        keep(first, nth(n), hours=MAX_PLANS - n)
    again = KeptPlans(generation / "plans", 0)
    keep(again, nth(99))
    assert len(again.all("m")) == MAX_PLANS
    assert nth(MAX_PLANS - 1).key.digest not in digests(again)


def test_what_rotted_no_longer_counts(plans, generation):
    for n in range(MAX_PLANS):
        keep(plans, nth(n), hours=n)
    path = generation / "plans" / "m" / nth(7).key.digest
    path.write_bytes(b"rot")
    assert plans.read("m", path.name) is None
    keep(plans, nth(99), hours=99)
    assert len(plans.all("m")) == MAX_PLANS
    assert nth(0).key.digest in digests(plans)


def test_a_look_that_failed_is_taken_again(plans, generation, monkeypatch):
    keep(plans, PLAN, hours=1)
    again = KeptPlans(generation / "plans", 0)
    again.limit = len(dump_plan(PLAN))
    monkeypatch.setattr(kept_plans, "open_to_read", refusing(errno.EMFILE))
    with pytest.raises(DiskError):
        keep(again, plan(rank=1))
    monkeypatch.undo()
    keep(again, plan(rank=1))
    assert digests(again) == {plan(rank=1).key.digest}


def test_a_plan_beyond_the_room_of_all_is_refused_with_both_numbers(plans):
    plans.limit = 100
    with pytest.raises(PlanRefusedError, match=r"a plan of .* may take 100 B"):
        keep(plans, PLAN)
    assert plans.all("m") == []


def test_a_plan_of_more_ranks_than_are_kept_is_refused_with_both_numbers(plans):
    keep(plans, plan(ranks=MAX_PLANS), "most")
    with pytest.raises(PlanRefusedError, match="a plan of 65 ranks, where 64 plans"):
        keep(plans, plan(ranks=MAX_PLANS + 1))
    assert plans.all("m") == []


@pytest.mark.parametrize(
    ("files", "limit"),
    [(0, LEAST_ROOM), (10 * 2**30, 160 * 2**20), (2**50, MOST_ROOM)],
)
def test_plans_take_a_small_part_of_what_the_files_take(tmp_path, files, limit):
    assert KeptPlans(tmp_path, files).limit == limit


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data.replace(b"a.weight", b"z.weight"),
        lambda data: data[:40],
        lambda data: b"",
        lambda data: b"[" * 30_000,
        lambda data: data.replace(b"tp2", b"tp4", 1),
        lambda data: data.replace(b'"size":', b'"size":"x', 1),
        lambda data: data.replace(b'"size":', b'"size":1e999,"was":', 1),
    ],
    ids=["cut", "flipped", "cut in its head", "empty", "deep", "other key", "no number", "endless"],
)
def test_a_plan_that_rotted_is_dropped_and_said_to_be(plans, generation, caplog, spoil):
    keep(plans, PLAN)
    path = generation / "plans" / "m" / PLAN.key.digest
    path.write_bytes(spoil(path.read_bytes()))
    assert plans.read("m", PLAN.key.digest) is None
    assert not path.exists()
    assert f"the plan m/{PLAN.key.digest} is dropped" in caplog.text
    assert plans.all("m") == []


def test_a_list_drops_what_it_cannot_read_and_goes_on(plans, generation, caplog):
    keep(plans, PLAN)
    kept = keep(plans, plan(rank=1))
    (generation / "plans" / "m" / PLAN.key.digest).write_bytes(b"{}\n")
    assert plans.all("m") == [kept]
    assert "is dropped" in caplog.text


def test_what_rotted_is_written_anew(plans, generation):
    keep(plans, PLAN)
    path = generation / "plans" / "m" / PLAN.key.digest
    path.write_bytes(b"rot")
    keep(plans, PLAN)
    assert plans.read("m", PLAN.key.digest) == dump_plan(PLAN)


def refusing(number: int):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_bad_block_under_a_plan_costs_the_plan(plans, monkeypatch):
    keep(plans, PLAN)
    monkeypatch.setattr(kept_plans, "open_to_read", refusing(errno.EIO))
    assert plans.read("m", PLAN.key.digest) is None
    monkeypatch.undo()
    assert plans.all("m") == []


def test_a_process_without_descriptors_costs_no_plan(plans, monkeypatch):
    keep(plans, PLAN)
    monkeypatch.setattr(kept_plans, "open_to_read", refusing(errno.EMFILE))
    with pytest.raises(DiskError):
        plans.read("m", PLAN.key.digest)
    monkeypatch.undo()
    assert len(plans.all("m")) == 1


def test_what_a_crash_left_half_written_is_no_plan_and_goes_with_the_next_write(plans, generation):
    keep(plans, PLAN)
    halves = [generation / "plans" / model / f"{'0' * 32}.new" for model in ("m", "other")]
    for half in halves:
        half.parent.mkdir(exist_ok=True)
        half.write_bytes(b'{"key"')
    again = KeptPlans(generation / "plans", 0)
    assert len(again.all("m")) == 1
    keep(again, plan(rank=1))
    assert not any(half.exists() for half in halves)


def test_plans_of_a_model_that_is_called_as_what_is_half_written_count_after_a_restart(generation):
    first = KeptPlans(generation / "plans", 0)
    for n in range(MAX_PLANS):
        keep(first, nth(n), "m.new")
    again = KeptPlans(generation / "plans", 0)
    keep(again, nth(99), "m.new")
    assert len(again.all("m.new")) == MAX_PLANS


def test_a_plan_that_the_disk_has_no_room_for_leaves_nothing_behind(plans, generation, monkeypatch):
    keep(plans, PLAN)
    monkeypatch.setattr(durable.os, "fsync", refusing(errno.ENOSPC))
    with pytest.raises(CapacityError):
        keep(plans, plan(rank=1))
    assert [p.name for p in (generation / "plans" / "m").iterdir()] == [PLAN.key.digest]


def test_a_generation_that_has_left_does_not_come_back_as_plans(plans, generation):
    generation.rmdir()
    with pytest.raises(DiskError):
        keep(plans, PLAN)
    assert not generation.exists()


def test_the_fingerprint_is_that_of_the_document(plans):
    record = keep(plans, PLAN)
    assert record.fingerprint == sha256(plans.read("m", PLAN.key.digest)).hexdigest()
