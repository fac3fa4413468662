from cache_protocol.plans import check_files, dump_plan, parse_plan
from replica_agent.plans.plain import is_plain, plain
from tests.fakes.plans import plan


def test_a_plan_that_lays_nothing_out_travels_like_any_other_and_fits_any_model():
    parsed = parse_plan(dump_plan(plain(plan().key)))
    check_files(parsed, [("model.safetensors", 9)])
    assert parsed.key == plan().key
    assert is_plain(parsed.key, len(dump_plan(parsed)))
    assert parsed.size == parsed.read == 0


def test_a_plan_that_lays_something_out_is_another():
    assert not is_plain(plan().key, len(dump_plan(plan())))
