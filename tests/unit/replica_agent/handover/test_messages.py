import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import MalformedError
from cache_protocol.ranges import Span
from replica_agent.handover import messages
from replica_agent.handover.messages import (
    MAX_LINE,
    PLAN_PART,
    Arrived,
    Done,
    Hello,
    Layout,
    Outcome,
    Placed,
)
from replica_agent.lending import ShardWords

COUNTS = st.integers(0, 2**40)
PARTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 20), st.integers(0, 20)).map(
        lambda row: Arrived(row[0], Span(min(row[1:]), max(row[1:])))
    )
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def sent(message):
    line = messages.encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return messages.decode(line)


def test_hello_comes_back():
    assert messages.parse_hello(sent(messages.hello(Hello("llm", 1, 2)))) == Hello("llm", 1, 2)


def test_one_that_adopts_says_so():
    words = Hello("llm", adopts=True)
    assert messages.parse_hello(sent(messages.hello(words))) == words


def test_one_that_never_heard_of_shards_takes_none():
    message = {"handover": 1, "model": "llm", "rank": 0, "peers": 1}
    assert not messages.parse_hello(message).adopts


SHARD = ShardWords("ab" * 32, 4096, "GPU-1234")


@pytest.mark.parametrize("shard", [None, SHARD])
def test_a_layout_brings_its_shard(shard):
    words = Layout("g", 4096, 1, "cd" * 16, shard)
    assert messages.parse_layout(sent(messages.layout(words))) == words


def test_the_layout_of_an_older_agent_has_no_shard():
    message = {"handover": 1, "generation": "g", "size": 4096, "files": 1}
    assert messages.parse_layout(message) == Layout("g", 4096, 1, "", None)


@pytest.mark.parametrize(
    "wrong",
    [{"plan": "ab"}, {"plan": 5}, {"size": 0}, {"size": True}, {"size": -1}, {"device": None}],
)
def test_a_shard_that_makes_no_sense_is_refused(wrong):
    message = messages.layout(Layout("g", 4096, 1, "", SHARD))
    message["shard"] |= wrong
    with pytest.raises(MalformedError):
        messages.parse_layout(message)


@pytest.mark.parametrize("size", [0, 1, PLAN_PART, PLAN_PART + 1, 3 * PLAN_PART])
def test_a_plan_comes_back_in_parts(size):
    parts = [messages.parse_plan_part(sent(m)) for m in messages.plan_parts(b"x" * size)]
    assert "".join(part.text for part in parts) == "x" * size
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]


def test_a_part_of_a_plan_fits_into_a_line_whatever_is_in_it():
    (message,) = messages.plan_parts(b'"' * PLAN_PART)
    assert len(messages.encode(message)) <= MAX_LINE


ODD, FIT = "a\x1b[2Jb\n\ud800c" + "x" * 2000, "a [2Jb  c" + "x" * 991


def test_a_reason_is_fit_to_be_shown():
    assert messages.parse_refused(sent(messages.refused(ODD))) == FIT


def test_what_an_engine_says_last_is_fit_to_be_shown():
    words = Done(Outcome.ORIGIN, 0.5, 2.0, ODD, 7, ODD)
    assert messages.parse_done(sent(messages.done(words))) == words._replace(reason=FIT, copied=FIT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"adopted": 10**4000},
        {"adopted": -1},
        {"waited": 10**400},
        {"waited": float("nan")},
        {"seconds": float("inf")},
        {"seconds": -1.0},
        {"seconds": True},
    ],
)
def test_last_words_that_no_report_could_say_are_malformed(wrong):
    words = Done(Outcome.LOADED, 0.5, 2.0)._replace(**wrong)
    with pytest.raises(MalformedError):
        messages.parse_done(sent(messages.done(words)))


@given(COUNTS.filter(bool), COUNTS)
def test_a_layout_comes_back(size, files):
    words = Layout("g", size, files)
    assert messages.parse_layout(sent(messages.layout(words))) == words


@given(st.lists(st.tuples(COUNTS, COUNTS)))
def test_files_come_back_in_order(places):
    files = [Placed(f"f{n}", place, size) for n, (place, size) in enumerate(places)]
    lines = [sent(message) for message in messages.files(files)]
    assert [f for line in lines for f in messages.parse_files(line, 2**42)] == files


@given(PARTS)
def test_what_arrived_comes_back_byte_for_byte(parts):
    lines = [sent(message) for message in messages.arrived(parts)]
    back = [p for line in lines for p in messages.parse_arrived(line, [20] * 4)]
    assert each_byte(back) == each_byte(parts)


def each_byte(parts):
    return [(part.file, place) for part in parts for place in range(*part.span)]


def test_neighbours_travel_as_one():
    parts = [Arrived(0, Span(n, n + 1)) for n in range(1000)]
    (message,) = messages.arrived(parts)
    assert message == {"arrived": [[0, 0, 1000]]}


@pytest.mark.parametrize("reason", [None, "it was late"])
def test_done_comes_back(reason):
    words = Done(Outcome.ORIGIN, 0.5, 2.0, reason, 7, reason)
    assert messages.parse_done(sent(messages.done(words))) == words


def test_the_longest_paths_fit_into_a_line():
    segment = "\u00e9" * 127
    path = "/".join([segment] * 4)[:512]
    files = [Placed(path, 0, 0)] * 1000
    assert all(len(messages.encode(m)) <= messages.MAX_LINE for m in messages.files(files))


@given(JSON)
def test_whatever_comes_is_a_message_or_malformed(junk):
    line = json.dumps(junk).encode()
    for parse in (
        messages.parse_hello,
        messages.parse_layout,
        messages.parse_done,
        messages.parse_plan_part,
        lambda m: messages.parse_files(m, 10),
        lambda m: messages.parse_arrived(m, [10]),
    ):
        for wrapped in (line, *wraps(junk)):
            with pytest.raises(MalformedError):
                parse(messages.decode(wrapped))


def wraps(junk):
    junk = junk if junk not in ([], {}) else 1
    return [json.dumps({key: junk}).encode() for key in ("done", "handover", "model", "plan")]


@pytest.mark.parametrize(
    "row", [["../x", 0, 1], ["/x", 0, 1], ["x", 5, 6], ["x", -1, 1], ["x", 0.0, 1], ["x", True, 1]]
)
def test_a_file_outside_the_memory_is_refused(row):
    with pytest.raises(MalformedError):
        messages.parse_files({"files": [row]}, 10)


@pytest.mark.parametrize("row", [[1, 0, 1], [-1, 0, 1], [0, 0, 11], [0, 2, 1], [0, 0], ["0", 0, 1]])
def test_bytes_outside_their_file_are_refused(row):
    with pytest.raises(MalformedError):
        messages.parse_arrived({"arrived": [row]}, [10])


@pytest.mark.parametrize("version", [0, 2, None, "1", True])
def test_another_version_is_refused(version):
    with pytest.raises(MalformedError):
        messages.parse_hello({"handover": version, "model": "llm", "rank": 0, "peers": 1})
