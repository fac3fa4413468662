"""A shape of 10 000 dimensions tries to make arithmetic slow and every tensor library fall over."""

import pytest

from tests.hostile.headers import assert_refused, file_of, read, tensor


@pytest.mark.parametrize("rank", [65, 10_000])
def test_more_dimensions_than_numpy_takes_are_refused(rank: int):
    header = {"a": tensor("U8", [1] * rank, [0, 1])}
    assert_refused(file_of(header, 1), f"{rank} dimensions", library=False)


def test_as_many_dimensions_as_numpy_takes_are_read():
    read(file_of({"a": tensor("U8", [1] * 64, [0, 1])}, 1))
