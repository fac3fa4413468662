"""A key that stands twice tries to show one reader one tensor and another reader another."""

from tests.hostile.headers import assert_refused, file_of

ONE = b'{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'


def test_a_tensor_that_stands_twice_is_refused():
    assert_refused(file_of(b'{"t":%s,"t":%s}' % (ONE, ONE), 1), "stands twice", library=False)


def test_a_name_that_stands_twice_in_two_spellings_is_refused():
    header = b'{"t":%s,"\\u0074":%s}' % (ONE, ONE)
    assert_refused(file_of(header, 1), "stands twice", library=False)


def test_a_field_of_a_tensor_that_stands_twice_is_refused():
    header = b'{"t":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}}'
    assert_refused(file_of(header, 1), "stands twice")


def test_metadata_that_stands_twice_is_refused():
    assert_refused(file_of(b'{"__metadata__":{},"__metadata__":{}}'), "stands twice")


def test_a_key_of_the_metadata_that_stands_twice_is_refused():
    header = b'{"__metadata__":{"format":"pt","format":"np"}}'
    assert_refused(file_of(header), "stands twice", library=False)
