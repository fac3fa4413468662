"""How fuzzers spoil what was good: whole bytes, and JSON by its structure.

A parser refuses random bytes at the first one. What comes near to being right goes deep into it:
so each fuzzer begins with something valid and changes a few places, with pieces that its parser
knows.

``FUZZ_EXAMPLES`` has every fuzzer try so many inputs, other ones each time, and keep in
``.hypothesis`` what failed; see ``scripts/fuzz``. Without it they try the same few each time.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LONG = os.environ.get("FUZZ_EXAMPLES")
MAX_MESSAGE = 2000  # characters of a refusal, whatever was refused


def hunt(few: int) -> Callable[[Any], Any]:
    """Return the settings of a fuzzer that takes about three seconds for ``few`` inputs."""
    return settings(
        max_examples=int(LONG or few),
        derandomize=LONG is None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def spoiled(data: bytes, pieces: Sequence[bytes], most: int = 4) -> st.SearchStrategy[bytes]:
    """Return ``data`` with up to ``most`` places cut, flipped, doubled, or replaced by a piece."""
    places = st.lists(_edits(pieces), max_size=most)
    return places.map(lambda edits: _apply(data, edits))


Edit = Callable[[bytes, int], bytes]


def _edits(pieces: Sequence[bytes]) -> st.SearchStrategy[tuple[int, Edit]]:
    insert = (st.sampled_from(list(pieces)) | st.binary(min_size=1, max_size=3)).map(_insert)
    cut = st.integers(1, 40).map(_cut)
    flip = st.integers(0, 7).map(_flip)
    double = st.integers(1, 60).map(_double)
    return st.tuples(st.integers(0, 2**16), insert | insert | cut | flip | double)


def _apply(data: bytes, edits: list[tuple[int, Edit]]) -> bytes:
    for place, edit in edits:
        data = edit(data, place % (len(data) + 1))
    return data


def _insert(piece: bytes) -> Edit:
    return lambda data, at: data[:at] + piece + data[at:]


def _cut(size: int) -> Edit:
    return lambda data, at: data[:at] + data[at + size :]


def _flip(bit: int) -> Edit:
    return lambda data, at: (
        data[:at] + bytes(b ^ 1 << bit for b in data[at : at + 1]) + data[at + 1 :]
    )


def _double(size: int) -> Edit:
    return lambda data, at: data[: at + size] + data[at : at + size] + data[at + size :]


def in_few_words(error: Exception) -> bool:
    """Whether a refusal stays short: what was refused must not come back in a log."""
    return len(str(error)) <= MAX_MESSAGE


class Raw(str):
    """Text that stands in JSON as it is, whether that is JSON or not."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object by its pairs, of which two may have one name."""


ODD = [
    *("", "..", "/", "a/../b", "\x00", "\u202e", "é", "e\u0301", "A" * 300, "0", "NaN", "\ud800"),
    *(0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, True, False, None, 0.5, -0.0),
    *([], {}, [[]], [0], {"": 0}, [None] * 3),
    *map(Raw, ("NaN", "Infinity", "-0", "1e400", "1e2", "01", "+1", "0x1", "1_0", "1.0", "\uff19")),
    *map(Raw, ('"\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', "'a'", "\ufeff0", "//", "[1,]")),
    *(Raw("[" * 50 + "]" * 50), Raw("[" * 20_000), Raw("1" * 5_000)),
]


@st.composite
def spoiled_json(draw: st.DrawFn, tree: Any, odd: Sequence[Any] = ODD, most: int = 3) -> bytes:
    """Return ``tree`` as JSON with up to ``most`` values replaced, dropped, moved or doubled."""
    for _ in range(draw(st.integers(0, most))):
        place = draw(st.sampled_from(list(_places(tree))))
        tree = _changed(draw, tree, place, odd)
    return encode(tree).encode(errors="surrogatepass")


def encode(tree: Any) -> str:
    """Return ``tree`` as JSON, ``Raw`` and ``Pairs`` as what they are."""
    if isinstance(tree, Raw):
        return str(tree)
    if isinstance(tree, dict | Pairs):
        pairs = tree.items() if isinstance(tree, dict) else tree
        return "{" + ",".join(f"{json.dumps(k)}:{encode(v)}" for k, v in pairs) + "}"
    if isinstance(tree, list | tuple):
        return "[" + ",".join(map(encode, tree)) + "]"
    return json.dumps(tree, ensure_ascii=isinstance(tree, str) and len(tree) % 2 == 0)


Place = tuple[Any, ...]  # keys and indices from the root


def _places(tree: Any, above: Place = ()) -> Iterator[Place]:
    yield above
    if isinstance(tree, dict):
        children = list(tree.items())
    elif isinstance(tree, list) and not isinstance(tree, Pairs):
        children = list(enumerate(tree))
    else:
        children = []
    for key, child in children:
        yield from _places(child, (*above, key))


def _changed(draw: st.DrawFn, tree: Any, place: Place, odd: Sequence[Any]) -> Any:
    if not place:
        return _spoiled_value(draw, tree, odd)
    key, rest = place[0], place[1:]
    changed = dict(tree) if isinstance(tree, dict) else list(tree)
    changed[key] = _changed(draw, tree[key], rest, odd)
    return changed


def _spoiled_value(draw: st.DrawFn, value: Any, odd: Sequence[Any]) -> Any:
    kinds = ["replace", "wrap"]
    if isinstance(value, int) and not isinstance(value, bool):
        kinds += ["near", "near"]
    if isinstance(value, list) and value and not isinstance(value, Pairs):
        kinds += ["drop", "double"]
    if isinstance(value, dict) and value:
        kinds += ["drop", "double", "add"]
    return _KINDS[draw(st.sampled_from(kinds))](draw, value, odd)


def _replaced(draw: st.DrawFn, _value: Any, odd: Sequence[Any]) -> Any:
    return draw(st.sampled_from(list(odd)) | st.text(max_size=5) | st.integers())


def _wrapped(draw: st.DrawFn, value: Any, _odd: Sequence[Any]) -> Any:
    return draw(st.sampled_from([[value], {"a": value}, str(value)[:100]]))


def _near(draw: st.DrawFn, value: Any, _odd: Sequence[Any]) -> Any:
    return draw(st.sampled_from([value - 1, value + 1, -value, value * 8, float(value)]))


def _dropped(draw: st.DrawFn, value: Any, _odd: Sequence[Any]) -> Any:
    if isinstance(value, list):
        at = draw(st.integers(0, len(value) - 1))
        return value[:at] + value[at + 1 :]
    gone = draw(st.sampled_from(list(value)))
    return {k: v for k, v in value.items() if k != gone}


def _doubled(draw: st.DrawFn, value: Any, _odd: Sequence[Any]) -> Any:
    if isinstance(value, list):
        at = draw(st.integers(0, len(value) - 1))
        return [*value, value[at]]
    key = draw(st.sampled_from(list(value)))
    return Pairs([*value.items(), (key, value[key])])


def _added(draw: st.DrawFn, value: Any, odd: Sequence[Any]) -> Any:
    name = draw(st.sampled_from(["", "a", "..", "__metadata__", "\x00", *map(str, value)]))
    return {**value, name: _replaced(draw, None, odd)}


_KINDS: dict[str, Callable[[st.DrawFn, Any, Sequence[Any]], Any]] = {
    "replace": _replaced,
    "wrap": _wrapped,
    "near": _near,
    "drop": _dropped,
    "double": _doubled,
    "add": _added,
}
