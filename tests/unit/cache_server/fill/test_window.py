import threading

from hypothesis import given
from hypothesis import strategies as st

from cache_server.fill.window import Passing, Window

OWNER = object()
A, B, C = ((OWNER, n) for n in range(3))


def whole(window, *names):
    """Let chunks of three bytes pass."""
    with window.claimed(names, [3] * len(names)) as claims:
        for passing in claims:
            passing.put(memoryview(b"abc"))


def test_what_is_put_can_be_followed_as_it_comes():
    window = Window(1)
    with window.claimed([A], [3]) as (mine,), window.followed(A) as theirs:
        mine.put(memoryview(b"ab"))
        assert bytes(theirs.beyond(0, 0)) == b"ab"
        assert bytes(theirs.beyond(2, 0)) == b""
        mine.put(memoryview(b"c"))
        assert bytes(theirs.beyond(2, 0)) == b"c"


def test_who_waits_wakes_up_when_bytes_come():
    window, seen = Window(1), []
    with window.claimed([A], [3]) as (mine,):
        waiting = threading.Thread(target=lambda: seen.append(bytes(mine.beyond(0, 30))))
        waiting.start()
        mine.put(memoryview(b"abc"))
        waiting.join()
    assert seen == [b"abc"]


def test_a_chunk_that_somebody_has_is_not_claimed_again():
    window = Window(3)
    with window.claimed([A], [3]), window.claimed([A, B], [3, 3]) as claims:
        assert claims == []


def test_chunks_are_claimed_in_a_row_up_to_one_that_somebody_has():
    window = Window(5)
    with window.claimed([C], [3]), window.claimed([A, B, C], [3] * 3) as claims:
        assert len(claims) == 2


def test_a_whole_chunk_stays_until_its_memory_is_needed():
    window = Window(2)
    whole(window, A)
    whole(window, B)
    with window.followed(A) as passing:  # used last
        assert bytes(passing.beyond(0, 0)) == b"abc"
    whole(window, C)
    assert [window.has(name) for name in (A, B, C)] == [True, False, True]


def test_a_chunk_that_is_read_keeps_its_memory():
    window = Window(1)
    whole(window, A)
    with window.followed(A) as reading, window.claimed([B], [3]) as claims:
        assert claims == []
        assert bytes(reading.beyond(0, 0)) == b"abc"
    with window.claimed([B], [3]) as claims:
        assert len(claims) == 1


def test_a_chunk_that_is_not_finished_is_abandoned_and_its_followers_are_told():
    window = Window(1)
    with window.claimed([A], [3]) as (mine,):
        mine.put(memoryview(b"a"))
    assert mine.abandoned
    assert bytes(mine.beyond(1, 30)) == b""
    assert not window.has(A)


def test_a_chunk_that_was_dropped_counts_until_its_last_reader_has_left():
    window = Window(1)
    whole(window, A)
    with window.followed(A):
        window.drop(A)
        with window.followed(A) as nobody, window.claimed([B], [3]) as claims:
            assert (nobody, claims) == (None, [])
    with window.claimed([B], [3]) as claims:
        assert len(claims) == 1


def test_all_chunks_of_an_owner_are_dropped_at_once():
    window, other = Window(3), (object(), 0)
    whole(window, A, B, other)
    window.drop_where(lambda name: name[0] is OWNER)
    assert [window.has(name) for name in (A, B, other)] == [False, False, True]


@given(
    st.lists(st.tuples(st.sampled_from(["claim", "follow", "drop", "leave"]), st.integers(0, 5)))
)
def test_memory_never_exceeds_the_limit_and_none_is_lost(steps):
    window, held = Window(3), []
    for step, chunk in steps:
        name = (OWNER, chunk)
        if step == "drop":
            window.drop(name)
        elif step == "leave" and held:
            held.pop(chunk % len(held)).__exit__(None, None, None)
        elif step in ("claim", "follow"):
            way = window.claimed([name], [3]) if step == "claim" else window.followed(name)
            got = way.__enter__()
            held.append(way)
            for passing in got if isinstance(got, list) else []:
                passing.put(memoryview(b"abc"[: chunk % 2 + 2]))
        users = {id(p): p for p in window._chunks.values()}
        assert len(users) <= window._taken <= 3
    for way in held:
        way.__exit__(None, None, None)
    assert window._taken == len(window._chunks)
    assert not any(p.users for p in window._chunks.values())


def test_a_passing_chunk_is_told_apart_from_one_that_is_equal():
    memory = memoryview(bytearray(3))
    assert Passing(memory, 3) != Passing(memory, 3)
