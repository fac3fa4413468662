"""A manifest, plan, header or index within its size tries to become twenty times that in memory."""

import tracemalloc
from collections.abc import Callable

import pytest

from cache_protocol.errors import MalformedError
from cache_protocol.json_bounds import MAX_MARKS
from cache_protocol.manifest import parse_manifest
from cache_protocol.plans import MAX_LISTS, parse_plan
from cache_protocol.safetensors_header import parse_header
from replica_agent.engines.checkpoint import weight_files

ROWS = {"parameters": b'["a1","U8",[]]', "kept": b"[0,0,0]", "objects": b"{}"}
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


@pytest.mark.parametrize("rows", ROWS)
def test_a_plan_of_more_rows_than_a_model_has_is_refused_before_they_are_made(rows: str):
    document = b'{"rows":[' + b",".join([ROWS[rows]] * MAX_LISTS) + b"]}"
    tracemalloc.start()
    try:
        with pytest.raises(MalformedError, match="lists and objects"):
            parse_plan(document)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
