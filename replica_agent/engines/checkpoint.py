"""Tell which safetensors files of a model hold its weights.

Pure. A repository may hold the same weights twice: sharded under the names that its index lists,
and consolidated; with adapters or ONNX exports in folders. Source of the rules: vLLM's default
loader and transformers' ``from_pretrained``, which read the top folder and follow the index.
"""

import json
from collections.abc import Collection
from fnmatch import fnmatch

from cache_protocol.errors import MalformedError
from cache_protocol.json_bounds import check_marks

INDEX = "model.safetensors.index.json"
_SUFFIX = ".safetensors"
_CONSOLIDATED = "consolidated*.safetensors"  # Mistral's own layout, beside the usual one
_WRONG_FORM = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


def weight_files(
    paths: Collection[str], index: bytes | None = None, patterns: Collection[str] | None = None
) -> frozenset[str]:
    """Return those of ``paths`` to load.

    Args:
        paths: every file of the model.
        index: content of ``INDEX``, where the model has one.
        patterns: what the model's code asks for instead of all that.

    Raises:
        MalformedError: the index is none, or of too many values, or there are no weights.
    """
    top = [path for path in paths if path.endswith(_SUFFIX) and "/" not in path]
    if patterns is not None:
        found = [path for path in top if any(fnmatch(path, each) for each in patterns)]
    elif index is not None:
        listed = _listed(index)
        found = [path for path in top if path in listed]
    else:
        found = [path for path in top if not fnmatch(path, _CONSOLIDATED)] or top
    if not found:
        raise MalformedError("the model has no safetensors files that could be loaded")
    return frozenset(found)


def _listed(index: bytes) -> frozenset[str]:
    check_marks(index)
    try:
        return frozenset(map(str, json.loads(index)["weight_map"].values()))
    except _WRONG_FORM as error:
        raise MalformedError(f"{INDEX} is not an index of weights") from error
