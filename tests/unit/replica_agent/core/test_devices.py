import pytest

from cache_protocol.errors import MalformedError
from replica_agent.core.devices import rank_device


@pytest.mark.parametrize("word", ["cuda", "auto"])
def test_without_a_list_each_rank_has_the_device_of_its_number(word):
    assert [rank_device(word, rank) for rank in range(3)] == [0, 1, 2]


def test_ranks_have_the_devices_of_the_list_in_order():
    assert [rank_device("cuda:2,0,2", rank) for rank in range(3)] == [2, 0, 2]


def test_a_rank_beyond_the_list_is_an_error():
    with pytest.raises(MalformedError, match="no device for rank 2, only for 2"):
        rank_device("cuda:0,1", 2)
