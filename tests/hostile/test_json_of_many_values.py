"""A manifest, plan, header or index within its size tries to become twenty times that in memory."""

import tracemalloc
from collections.abc import Callable

import pytest

from cache_protocol.errors import MalformedError
from cache_protocol.json_bounds import MAX_MARKS
from cache_protocol.manifest import parse_manifest
from cache_protocol.plans import parse_plan
from cache_protocol.safetensors_header import parse_header
from replica_agent.engines.checkpoint import weight_files

VALUES = {"lists": b"[]", "texts": b'"ab"'}
PARSERS: dict[str, Callable[[bytes], object]] = {
    "manifest": parse_manifest,
    "plan": parse_plan,
    "header": lambda header: parse_header(header, file_size=2**40),
    "index": lambda index: weight_files(["model.safetensors"], index),
}


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("value", VALUES)
def test_millions_of_values_are_refused_before_they_are_made(parser: str, value: str):
    document = b'{"wire":[' + b",".join([VALUES[value]] * MAX_MARKS) + b"]}"
    tracemalloc.start()
    try:
        with pytest.raises(MalformedError, match="commas and brackets"):
            PARSERS[parser](document)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
