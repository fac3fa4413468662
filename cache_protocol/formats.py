"""What a file of a model is, judged by its name: data, or something that can run. Pure.

    pickle   weights that are unpickled as they are loaded, or name functions that are then called:
             whoever made the file says what runs
    code     what Python imports, a linker loads or a shell runs

Loaders choose by the name as well, and a name is known before the first byte is pulled. So a
``.bin`` of a format that is no pickle (CTranslate2, OpenVINO, whisper.cpp) is judged like one: its
owner says so. ``.safetensors``, ``.gguf``, ``.onnx``, ``.msgpack`` and ``.npz`` hold numbers; numpy
opens no pickle in an ``.npz`` unless it is told to. The list of forms follows what the scanners of
the Hugging Face Hub look into, and PyTorch's SECURITY.md, which calls TorchScript executable code.
"""

import re
from collections.abc import Collection, Mapping
from enum import StrEnum

from cache_protocol.errors import UnsafeContentError
from cache_protocol.names import shown


class Hazard(StrEnum):
    """What a file may do to whoever opens it. ``allow_pickle`` and ``allow_code`` allow it."""

    PICKLE = "pickle"
    CODE = "code"


PICKLES = frozenset(
    (
        ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".pt2", ".jit", ".torchscript",
        ".joblib", ".dill", ".cloudpickle", ".distcp", ".nemo", ".mar", ".pdparams", ".pdopt",
        ".keras",
    )
)  # fmt: skip
CODE = frozenset(
    (
        ".py", ".pyw", ".pyc", ".pyo", ".pyd", ".pyz", ".egg", ".whl", ".so", ".dll", ".dylib",
        ".sh", ".exe", ".llamafile",
    )
)  # fmt: skip
# Weights that hold numbers and no more.
TENSORS = frozenset(
    (".safetensors", ".gguf", ".ggml", ".onnx", ".h5", ".msgpack", ".npz", ".tflite")
)  # fmt: skip
WEIGHTS = TENSORS | PICKLES
_WRAPPERS = frozenset((".gz", ".bz2", ".xz", ".zst", ".tar"))  # model.pth.tar, weights.pkl.gz
_LIBRARY = re.compile(r".*\.so(\.\d+)*")  # libcustom.so.1.2


def hazard(path: str) -> Hazard | None:
    """Return what the file of this name may do; None: it is data."""
    name = path.rpartition("/")[2].lower().rstrip(". ")  # some file systems drop these
    stem, suffix = _split(name)
    while suffix in _WRAPPERS:
        name = stem
        stem, suffix = _split(name)
    if suffix in PICKLES:
        return Hazard.PICKLE
    return Hazard.CODE if suffix in CODE or _LIBRARY.fullmatch(name) else None


def left_out(path: str, allow: Collection[Hazard]) -> Hazard | None:
    """Return why the file stays behind; None: it belongs to the model.

    What is left out is everything that can run and is not in ``allow``.
    """
    found = hazard(path)
    return None if found in allow else found


def sift(
    source: str, sizes: Mapping[str, int], allow: Collection[Hazard], switch: str
) -> list[str]:
    """Return the paths that belong to the model, of all that are there; raises as below."""
    out = {path: size for path, size in sizes.items() if left_out(path, allow)}
    kept = {path: size for path, size in sizes.items() if path not in out}
    check_weights(source, kept, out, switch)
    return list(kept)


def check_weights(
    source: str, kept: Mapping[str, int], out: Mapping[str, int], switch: str
) -> None:
    """Refuse a model that lost its only weights: what is left of it cannot be loaded.

    That is so when nothing is left, or no file in a form of weights and fewer bytes than the
    pickles have: a form that we do not know may hold them as well.

    Args:
        source: where it is from, for the message.
        kept: the paths that belong to it, with their sizes in bytes.
        out: those that were left out.
        switch: how its owner allows them, such as ``allow_{}``.

    Raises:
        UnsafeContentError: says what was left out, and the switch.
    """
    if not out:
        return
    pickles = [path for path in out if hazard(path) is Hazard.PICKLE]
    lost = sum(out[path] for path in pickles)
    if kept and (not pickles or any(map(_is_weights, kept)) or sum(kept.values()) > lost):
        return
    gone, why = (pickles, Hazard.PICKLE) if pickles else (list(out), Hazard.CODE)
    raise UnsafeContentError(
        f"{source}: {len(gone)} files run what their author wrote when they are opened, such as "
        f"{shown(min(gone))}, and were left out; no weights remain. Take a source with "
        f"safetensors, or, if you trust this one, say {switch.format(why)}"
    )


def _is_weights(path: str) -> bool:
    return _split(path.lower())[1] in WEIGHTS


def _split(name: str) -> tuple[str, str]:
    """Return a name without its suffix, and that; unlike pathlib's also of ``.bin``."""
    stem, dot, suffix = name.rpartition(".")
    return stem, dot + suffix if dot else ""
