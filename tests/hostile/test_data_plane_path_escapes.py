"""Encoded dots and slashes, to leave the slot or to reach a file by a second name."""

import pytest

from tests.fakes.data_node import data_node
from tests.fakes.reader import signed, target
from tests.fakes.shelf import GENERATION


@pytest.mark.parametrize(
    "path",
    [
        "m/../m/a",
        "m/./a",
        "m//a",
        "m/%2e%2e/m/a",
        "m/..%2f..%2f..%2fetc%2fpasswd",
        "m/%2Fetc%2Fpasswd",
        "m%2Fa",
        "m/a%2F",
        "m/a/",
        "m/%252e%252e/a",
        "..%5c..%5ca/a",
    ],
)
def test_a_path_is_a_name_and_never_walked(tmp_path, path):
    with data_node(tmp_path) as node, node.connect() as reader:
        node.shelf.add("a", b"weights")
        assert reader.get(signed(f"/files/{GENERATION}/{path}")).status == 404
        assert reader.get(target("a")).body == b"weights"
