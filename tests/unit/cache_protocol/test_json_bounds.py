import pytest

from cache_protocol.errors import MalformedError
from cache_protocol.json_bounds import MAX_MARKS, check_marks


@pytest.mark.parametrize("mark", [b",", b"[", b"{"])
def test_a_document_of_as_many_values_as_allowed_is_parsed_and_one_more_is_not(mark: bytes):
    check_marks(mark * MAX_MARKS)
    with pytest.raises(MalformedError, match=rf"{MAX_MARKS + 1} commas and brackets"):
        check_marks(mark * (MAX_MARKS + 1))


def test_a_large_document_of_few_values_is_none_of_its_matters():
    check_marks(b'{"a": "' + b" " * 10_000_000 + b'"}')
