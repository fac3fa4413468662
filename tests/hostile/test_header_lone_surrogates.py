"""An escaped half of a surrogate pair tries to be a name that no file or log can hold."""

import pytest

from tests.hostile.headers import assert_refused, file_of, read

ONE = b'{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'


@pytest.mark.parametrize("half", [b"\\ud800", b"\\uDfff", b"\\ude00\\ud83d", b"\\ud83d x \\ude00"])
def test_half_a_pair_is_refused_in_a_name_and_in_the_metadata(half: bytes):
    assert_refused(file_of(b'{"%s":%s}' % (half, ONE)))
    assert_refused(file_of(b'{"__metadata__":{"k":"%s"}}' % half))
    assert_refused(file_of(b'{"__metadata__":{"%s":"v"}}' % half))


def test_a_whole_pair_is_a_name_like_any_other():
    read(file_of(b'{"\\ud83d\\ude00":%s,"\\\\ud800":%s}' % (ONE, ONE)))
