import json

import pytest

from cache_protocol.errors import MalformedError
from replica_agent.engines.checkpoint import weight_files

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def index(*files):
    return json.dumps({"weight_map": {f"t{n}": file for n, file in enumerate(files)}}).encode()


def test_all_safetensors_files_of_the_top_folder_are_weights():
    assert weight_files(["config.json", *SHARDS, "onnx/model.safetensors"]) == set(SHARDS)


def test_only_files_of_the_index_are_weights():
    assert weight_files([*SHARDS, "adapter.safetensors"], index(*SHARDS)) == set(SHARDS)


def test_the_consolidated_copy_is_not_loaded_beside_the_shards():
    assert weight_files([*SHARDS, "consolidated.safetensors"]) == set(SHARDS)


def test_a_consolidated_file_alone_is_loaded():
    assert weight_files(["consolidated.safetensors"]) == {"consolidated.safetensors"}


def test_what_the_models_code_asks_for_goes_before_everything():
    paths = [*SHARDS, "consolidated-1.safetensors"]
    assert weight_files(paths, index(*SHARDS), ["consolidated*"]) == {"consolidated-1.safetensors"}


@pytest.mark.parametrize("paths", [[], ["pytorch_model.bin"], ["a/model.safetensors"]])
def test_a_model_without_safetensors_is_refused(paths):
    with pytest.raises(MalformedError, match="no safetensors"):
        weight_files(paths)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"weight_map": 3}', b"\xff"])
def test_an_index_that_is_none_is_refused(content):
    with pytest.raises(MalformedError, match="index"):
        weight_files(SHARDS, content)
