"""The same files, brought to a device by the libraries that people use today.

    python -m benchmarks.device_peers NAME DEVICE FILE …      prints seconds

The clock starts when the library is imported and torch has the device open, and ends when every
tensor is there. Nothing is checked against anything by any of them.
"""

import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable

MODULES = {
    "safetensors": "safetensors",
    "fastsafetensors": "fastsafetensors",
    "runai": "runai_model_streamer",
}


def is_there(name: str) -> bool:
    """Return whether the library can be imported here."""
    return importlib.util.find_spec(MODULES[name]) is not None


def _safetensors(device: str, files: list[str]) -> object:
    torch_form = importlib.import_module("safetensors.torch")
    return [torch_form.load_file(path, device=device) for path in files]


def _fastsafetensors(device: str, files: list[str]) -> object:
    fast = importlib.import_module("fastsafetensors")
    loader = fast.SafeTensorsFileLoader(fast.SingleGroup(), device)
    loader.add_filenames({0: files})
    buffers = loader.copy_files_to_device()
    return [buffers.get_tensor(name) for name in loader.get_keys()]


def _runai(device: str, files: list[str]) -> object:
    runai = importlib.import_module("runai_model_streamer")
    with runai.SafetensorsStreamer() as streamer:
        streamer.stream_files(files)
        return [tensor.to(device) for _, tensor in streamer.get_tensors()]


_LOADERS: dict[str, Callable[[str, list[str]], object]] = {
    "safetensors": _safetensors,
    "fastsafetensors": _fastsafetensors,
    "runai": _runai,
}


def _main(name: str, device: str, files: list[str]) -> None:
    import torch  # noqa: PLC0415 - only in the child

    importlib.import_module(MODULES[name])
    torch.empty(1, device=device)  # opens the device
    begun = time.perf_counter()
    held = _LOADERS[name](device, files)
    if device != "cpu":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begun
    print(json.dumps(seconds))
    del held


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], sys.argv[3:])
