import json

from hypothesis import given
from hypothesis import strategies as st

from cache_server.core.scrub_plan import Pass, Place, beyond, dump_passes, following, load_passes

IDS = st.text("0123456789abcdef", min_size=1, max_size=4)


@given(st.sets(IDS))
def test_a_pass_comes_to_every_generation_once_and_ends(ids):
    place, seen = Place(), []
    while (found := following(ids, place)) is not None:
        seen.append(found)
        place = beyond(found)
    assert seen == sorted(ids)


@given(st.sets(IDS), IDS, st.integers(0, 9))
def test_a_place_inside_a_generation_is_followed_by_that_generation(ids, here, chunk):
    assert following(ids | {here}, Place(here, 1, chunk)) == here


def test_a_pass_over_everything_covers_one_pipeline_and_not_the_reverse():
    assert Pass().covers("voice")
    assert Pass().covers(None)
    assert Pass("voice").covers("voice")
    assert not Pass("voice").covers(None)
    assert not Pass("voice").covers("other")


def test_passes_outlive_their_way_through_json():
    passes = [Pass("voice").moved(Place("ab", 2, 3), 77), Pass()]
    assert load_passes(json.loads(json.dumps(dump_passes(passes)))) == passes
