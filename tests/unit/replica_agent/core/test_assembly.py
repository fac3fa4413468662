from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.ranges import Span, cut
from cache_protocol.safetensors_header import TensorEntry
from replica_agent.core.assembly import Assembly

BASE = 20


def entries(sizes: list[int]) -> list[TensorEntry]:
    made, at = [], BASE
    for n, size in enumerate(sizes):
        made.append(TensorEntry(str(n), "U8", (size,), Span(at, at + size)))
        at += size
    return made


def test_a_tensor_is_whole_with_its_last_byte():
    assembly = Assembly(entries([10]))
    assert list(assembly.arrived(Span(0, 29))) == []
    assert [e.name for e in assembly.arrived(Span(29, 30))] == ["0"]


def test_one_part_completes_all_tensors_in_it_in_the_order_of_the_file():
    assert [e.name for e in Assembly(entries([1, 2, 3])).arrived(Span(0, 26))] == ["0", "1", "2"]


def test_a_tensor_without_bytes_is_never_yielded():
    assert [e.name for e in Assembly(entries([0, 1, 0])).arrived(Span(0, 21))] == ["1"]


@given(st.lists(st.integers(0, 40), max_size=20), st.integers(1, 50), st.randoms())
def test_in_any_order_of_arrival_each_tensor_is_yielded_once_when_its_bytes_are_there(
    sizes, piece, random
):
    table = entries(sizes)
    parts = list(cut(Span(0, BASE + sum(sizes)), piece))
    random.shuffle(parts)
    assembly, there, seen = Assembly(table), set(), []
    for part in parts:
        there.update(range(part.begin, part.end))
        done = list(assembly.arrived(part))
        assert all(there.issuperset(range(*e.span)) for e in done)
        seen += [e.name for e in done]
    assert sorted(seen) == sorted(e.name for e in table if e.span.size)
