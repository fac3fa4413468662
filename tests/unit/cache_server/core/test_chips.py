from cache_server.core.chips import chips

COLD = {
    "state": "cold",
    "pinned": False,
    "hot": False,
    "hot_until": None,
    "size": None,
    "filled": 0,
}


def test_the_state_comes_first_then_what_keeps_a_pipeline():
    warm = COLD | {
        "state": "warm",
        "pinned": True,
        "hot": True,
        "hot_until": "2026-01-02T03:04:05Z",
    }
    assert chips(warm) == ["warm", "pinned", "hot until 2026-01-02T03:04:05Z"]


def test_a_fill_of_unknown_size_shows_no_share():
    assert chips(COLD | {"state": "filling"}) == ["filling"]


def test_a_fill_that_lacks_one_byte_is_not_shown_as_done():
    assert chips(COLD | {"state": "filling", "size": 1000, "filled": 999}) == ["filling 99 %"]


def test_a_pipeline_that_is_no_longer_hot_says_nothing_of_it():
    assert chips(COLD | {"hot_until": "2026-01-02T03:04:05Z"}) == ["cold"]
