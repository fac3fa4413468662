"""A header length of 2**63, 2**64-1 or 100 000 001 bytes tries to make the reader allocate it."""

import pytest

from cache_protocol.safetensors_header import MAX_HEADER
from tests.hostile.headers import assert_refused


@pytest.mark.parametrize("n", [2**63, 2**63 - 1, 2**64 - 1, 2**32, MAX_HEADER + 1])
def test_a_length_above_the_limit_is_refused_from_its_eight_bytes(n: int):
    assert_refused(n.to_bytes(8, "little") + b"{}", "above the limit")
