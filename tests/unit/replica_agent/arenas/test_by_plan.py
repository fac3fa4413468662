from dataclasses import replace
from datetime import UTC, datetime

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
CHOICE = Choice(planned.plans(CONTENT), "laid out for 2 ranks")


def opened(choose, limit=2**30, manifest=MANIFEST, times=1):
    """Return the kinds of arenas by model, and the notes."""
    memory = LaidOutMemory(limit, lambda _: None, choose)
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
    monkeypatch.setattr("replica_agent.arenas.room.memory_limit", lambda root: next(answers, 2**30))
    kinds, _ = opened(lambda _: {"llm": CHOICE}, limit=None, times=2)
    assert kinds == PLAIN
    assert next(answers, None) is None


def test_memory_that_does_not_come_back_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr("replica_agent.arenas.by_plan.LETTING_GO", 0.01)
    answers = iter([2**30])
    monkeypatch.setattr("replica_agent.arenas.room.memory_limit", lambda root: next(answers, 1000))
    with pytest.raises(CapacityError, match="1000 bytes"):
        opened(lambda _: {"llm": CHOICE}, limit=None, times=2)


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
