from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cache_protocol.errors import CacheError, CapacityError
from cache_protocol.manifest import PASS_THROUGH, File, Lease, Manifest, Model
from replica_agent.arenas.by_plan import Choice, LaidOutMemory, Layer
from replica_agent.arenas.host import HostArena
from replica_agent.arenas.laid_out import LaidOutArena, room_for
from tests.fakes import planned

CONTENT = planned.checkpoint()
MODEL = Model("file:///llm", "1", (File(planned.PATH, len(CONTENT), None, (), "", ""),))
MANIFEST = Manifest("voice", "0" * 32, Lease("l", datetime.now(UTC)), {"llm": MODEL, "vad": MODEL})
FOR_EVER = 1e6  # seconds
CHOICE = Choice(planned.plans(CONTENT), "laid out for 2 ranks")


def opened(choose, limit=2**30, manifest=MANIFEST, times=1, held=lambda: 0):
    """Return the kinds of arenas by model, and the notes."""
    memory = LaidOutMemory(limit, lambda _: None, choose, held)
    for _ in range(times):
        kinds = {name: type(arena) for name, arena in memory.open_arenas(manifest).items()}
    memory.forget()
    return kinds, memory.notes


PLAIN = {"llm": HostArena, "vad": HostArena}


def test_a_model_whose_plans_are_known_is_laid_out_and_the_others_are_plain():
    kinds, notes = opened(lambda _: {"llm": CHOICE})
    assert kinds == {"llm": LaidOutArena, "vad": HostArena}
    assert notes == ["llm: laid out for 2 ranks"]


def test_no_plans_leave_all_as_it_was():
    kinds, notes = opened(lambda _: {"llm": Choice((), "plain files: the node knows no plan")})
    assert kinds == PLAIN
    assert notes == ["llm: plain files: the node knows no plan"]


@pytest.mark.parametrize("choice", [CHOICE, Choice((), "plain files: no plan")])
def test_models_of_which_the_same_is_to_be_said_share_a_note(choice):
    _, notes = opened(lambda manifest: dict.fromkeys(manifest.models, choice))
    assert notes == [f"llm, vad: {choice.why}"]


def test_whoever_asks_again_gets_plain_files():
    kinds, _ = opened(lambda _: {"llm": CHOICE}, times=2)
    assert kinds == PLAIN


def test_what_passes_through_is_plain_since_it_is_read_back():
    manifest = replace(MANIFEST, source=PASS_THROUGH)
    kinds, notes = opened(lambda _: {"llm": CHOICE}, manifest=manifest)
    assert kinds == PLAIN
    assert "pass through" in notes[0]


def test_a_choice_that_fails_is_a_note():
    def fail(manifest):
        raise CacheError("the node is slow with plans")

    kinds, notes = opened(fail)
    assert kinds == PLAIN
    assert notes == ["weights come as plain files: the node is slow with plans"]


def test_a_layout_without_room_is_given_up_for_plain_files():
    wide = planned.plans(CONTENT, ranks=16)  # each rank has the embedding: more than the files
    limit = 2 * (len(CONTENT) + 4096)
    assert room_for(MODEL, wide) > limit
    kinds, notes = opened(lambda _: {"llm": Choice(wide, "laid out for 16 ranks")}, limit)
    assert kinds == PLAIN
    assert len(notes) == 1
    assert str(limit) in notes[0]


def test_too_little_memory_for_plain_files_is_said_as_ever():
    with pytest.raises(CapacityError, match="no local disk"):
        opened(lambda _: {"llm": CHOICE}, limit=1000)


def test_who_asks_again_waits_for_memory_that_ranks_are_letting_go_of(monkeypatch):
    answers = iter([2**30, 1000, 1000])  # the first layout; two looks while a rank has it still
    monkeypatch.setattr("replica_agent.arenas.room.memory_limit", lambda *_: next(answers, 2**30))
    kinds, _ = opened(lambda _: {"llm": CHOICE}, limit=None, times=2, held=lambda: 1)
    assert kinds == PLAIN
    assert next(answers, None) is None


def test_memory_that_does_not_come_back_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr("replica_agent.arenas.by_plan.LETTING_GO", 0.01)
    answers = iter([2**30])
    monkeypatch.setattr("replica_agent.arenas.room.memory_limit", lambda *_: next(answers, 1000))
    with pytest.raises(CapacityError, match="1000 bytes"):
        opened(lambda _: {"llm": CHOICE}, limit=None, times=2, held=lambda: 1)


def test_what_ranks_keep_counts_towards_the_limit_of_what_comes_again(monkeypatch):
    monkeypatch.setattr("replica_agent.arenas.by_plan.LETTING_GO", 0.01)
    with pytest.raises(CapacityError, match=r"beside 300000 .* that engines have already"):
        opened(lambda _: {"llm": CHOICE}, limit=1_600_000, times=2, held=lambda: 300_000)


def test_nobody_waits_where_nothing_was_laid_out(monkeypatch):
    monkeypatch.setattr("replica_agent.arenas.by_plan.LETTING_GO", 0.2)
    answers = iter([0, 2**30])  # one look for each opening, and none in between
    with pytest.raises(CapacityError):
        opened(lambda _: {}, times=2, held=lambda: next(answers))


def test_nobody_waits_where_ranks_have_nothing(monkeypatch):
    monkeypatch.setattr("replica_agent.arenas.by_plan.LETTING_GO", FOR_EVER)
    answers = iter([2**30])
    monkeypatch.setattr("replica_agent.arenas.room.memory_limit", lambda *_: next(answers, 1000))
    with pytest.raises(CapacityError, match="1000 bytes"):
        opened(lambda _: {"llm": CHOICE}, limit=None, times=2)


def test_who_waits_for_memory_hears_that_nobody_wants_it_any_more(monkeypatch):
    monkeypatch.setattr("replica_agent.arenas.by_plan.LETTING_GO", FOR_EVER)

    def held():
        memory.hasten()
        return 2**30

    memory = LaidOutMemory(2**30, lambda _: None, lambda _: {"llm": CHOICE}, held)
    memory.open_arenas(MANIFEST)
    with pytest.raises(CapacityError, match="that engines have already"):
        memory.open_arenas(MANIFEST)


@pytest.mark.parametrize("choice", [CHOICE, Choice((), "plain files")])
def test_what_was_opened_before_is_not_in_memory_when_room_is_looked_for(choice):
    held, seen = [0], []
    model = {"forgotten": MODEL}
    manifest = replace(MANIFEST, models=model)

    def disk_for(need):
        seen.extend(mapped("forgotten"))

    memory = LaidOutMemory(2**30, disk_for, lambda _: {"forgotten": choice}, lambda: held[0])
    arenas = memory.open_arenas(manifest)  # which a transfer has, too
    assert mapped("forgotten")
    held[0] = 2**30
    with pytest.raises(CapacityError):
        memory.open_arenas(manifest)
    assert not seen
    arenas["forgotten"].close()  # as the pull does, whatever went before


def mapped(name):
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if name in line]


def test_what_was_opened_to_find_room_is_let_go_of_where_there_is_none():
    let_go = []
    layer = Layer(LaidOutArena, lambda *_: 2**50, let_go=lambda: let_go.append(1))
    kinds, _ = opened(lambda _: {"llm": CHOICE._replace(layer=layer)})
    assert kinds == PLAIN
    assert let_go == [1]


@pytest.mark.parametrize(("number", "why"), [(0, "refused, or its device"), (1, "moved on to")])
def test_why_what_was_laid_out_did_not_stay_is_said_once(number, why):
    memory = LaidOutMemory(2**30, lambda _: None, lambda _: {"llm": CHOICE})
    memory.open_arenas(MANIFEST)
    for _ in range(2):
        memory.open_arenas(replace(MANIFEST, generation=f"{number:032x}"))
    memory.forget()
    (note,) = memory.notes[1:]
    assert note.startswith("brought again as plain files: ")
    assert why in note
