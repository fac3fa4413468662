from cache_protocol.plans import Key
from replica_agent.plans.groups import whole_groups


def key(rank, ranks=2, **other):
    facts = {"checkpoint": "0" * 32, "engine": "vllm", "version": "1", "device": "cpu"}
    facts |= {"layout": f"tp{ranks}", "dtype": "bfloat16", "quantisation": ""} | other
    return Key(rank=rank, ranks=ranks, **facts)


def anything(_):
    return True


def test_a_group_has_every_rank_in_order():
    assert whole_groups([key(1), key(0)], anything) == [(key(0), key(1))]


def test_a_group_that_lacks_a_rank_is_none():
    assert whole_groups([key(0), key(2, 3), key(0, 3)], anything) == []


def test_engines_that_differ_in_anything_are_groups_of_their_own():
    keys = [key(0), key(1, version="2"), key(1), key(0, version="2")]
    assert whole_groups(keys, anything) == [
        (key(0), key(1)),
        (key(0, version="2"), key(1, version="2")),
    ]


def test_keys_that_are_not_expected_are_left_out():
    keys = [key(0), key(1), key(0, 1)]
    assert whole_groups(keys, lambda k: k.ranks == 1) == [(key(0, 1),)]
