import pytest

from benchmarks import laid_out, rank_rows
from benchmarks.bench import Bench

SAYS = {"seconds": 1.0, "wire": 200, "size": 100, "ranks": (50, 60)}


@pytest.fixture
def pulls(monkeypatch):
    """Return the kinds of pulls that were made, none of which takes time."""
    made = []
    monkeypatch.setattr(rank_rows, "_leave_plans", lambda _: None)
    monkeypatch.setattr(rank_rows, "_measure", lambda _, kind: made.append(kind) or SAYS)
    monkeypatch.setattr(Bench, "size", 100)
    return made


def test_all_rows_about_ranks_tell_of_the_same_pulls(pulls, tmp_path):
    with Bench(100, 2, str(tmp_path)) as bench:
        rank_rows.rate(bench)
        before = list(pulls)
        assert rank_rows.received(bench).value == 2.0
        assert rank_rows.memory(bench).value == 0.6
    assert pulls == before


def test_a_row_about_ranks_alone_makes_its_own_pulls(pulls, tmp_path):
    with Bench(100, 2, str(tmp_path)) as bench:
        assert rank_rows.memory(bench).samples == [0.6, 0.6]
    assert pulls == [laid_out.LAID_OUT] * 2
