"""A repository hides what runs code under names that loaders take and a plain filter misses."""

import pickle

import pytest

from cache_protocol.errors import MalformedError
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, VOICE, running_service

SAFE = {"config.json": b"{}", "model.onnx": b"w"}
DISGUISES = [
    "pytorch_model.BIN",
    "checkpoint.pth.tar",
    "weights.pkl.gz",
    "sub/.bin",
    "model.bin.",
    "modeling.PY",
    "sub/__init__.pyc",
    "libcustom.so.1.2",
    "a\x1b[2J/../x.pt",
]


@pytest.mark.parametrize("name", DISGUISES)
def test_what_can_run_code_is_not_pulled_by_any_name(tmp_path, name):
    origin = MemoryOrigin({**SAFE, name: b"harm"})
    with running_service(tmp_path / "root", MemoryOrigins({SOURCE: origin})) as bench:
        bench.put()
        assert bench.warm() is None
        assert [f.origin.path for f in bench.open().files] == list(SAFE)
        (model,) = bench.service.figures.view(VOICE)["models"]
        assert [o["path"] for o in model["left_out"]] == [name]
    assert not origin.sent[name]


def test_a_pickle_that_calls_itself_safetensors_is_refused(tmp_path):
    origin = MemoryOrigin({"config.json": b"{}", "model.safetensors": pickle.dumps([0] * 1000)})
    with running_service(tmp_path / "root", MemoryOrigins({SOURCE: origin})) as bench:
        bench.put()
        assert isinstance(bench.warm(), MalformedError)
        assert not bench.cache()["warm"]
