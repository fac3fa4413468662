"""What of a source can run code: left out, listed, refused, and not served on after an upgrade."""

from dataclasses import replace

import pytest

from cache_protocol.errors import UnsafeContentError
from cache_server.core.content import ModelSpec
from cache_server.store.generation import Generation
from tests.fakes.service import SOURCE, VOICE, chunks

PLAIN = ModelSpec("m", SOURCE)


@pytest.fixture
def mixed(origin):
    origin.files = {
        "config.json": b"{}",
        "model.onnx": chunks(0.1),
        "w.bin": chunks(0.2),
        "modeling.py": b"import os",
    }
    return origin


def paths(bench):
    return [f.origin.path for f in bench.open().files]


def test_a_fill_brings_neither_pickles_nor_code(bench, mixed):
    bench.put()
    assert bench.warm() is None
    assert paths(bench) == ["config.json", "model.onnx"]
    assert not mixed.sent["w.bin"]
    assert not mixed.sent["modeling.py"]


def test_the_view_lists_what_was_left_out_and_why(bench, mixed):
    bench.put()
    bench.warm()
    (model,) = bench.service.figures.view(VOICE)["models"]
    assert model["left_out"] == [
        {"path": "modeling.py", "size": 9, "why": "code"},
        {"path": "w.bin", "size": len(mixed.files["w.bin"]), "why": "pickle"},
    ]
    (listed,) = bench.service.figures.views("default")
    assert "left_out" not in listed["models"][0]


def test_what_was_left_out_is_still_listed_after_a_restart(node, mixed):
    with node() as bench:
        bench.put()
        bench.warm()
        before = bench.service.figures.view(VOICE)["models"]
    with node() as bench:
        assert bench.service.figures.view(VOICE)["models"] == before


def test_a_model_that_allows_pickles_is_pulled_with_them(bench, mixed):
    bench.put(replace(PLAIN, allow_pickle=True))
    assert bench.warm() is None
    assert paths(bench) == ["config.json", "model.onnx", "w.bin"]
    (model,) = bench.service.figures.view(VOICE)["models"]
    assert model["allow_pickle"] is True
    assert "allow_code" not in model


def test_to_allow_pickles_no_longer_takes_them_away(bench, mixed):
    bench.put(replace(PLAIN, allow_pickle=True))
    bench.warm()
    assert not bench.put(PLAIN)
    assert bench.warm() is None
    assert paths(bench) == ["config.json", "model.onnx"]


def test_a_source_of_nothing_but_pickles_fails_once_and_names_the_switch(bench, origin):
    origin.files = {"config.json": b"{}", "pytorch_model.bin": chunks(0.1)}
    bench.put()
    with pytest.raises(UnsafeContentError, match="allow_pickle"):
        bench.open()
    bench.settle()
    error = bench.cache()["last_error"]
    assert (error["code"], error["retry"]) == ("unsafe-content", "never")
    assert not origin.sent


def test_pickles_that_a_version_without_the_rule_kept_are_not_served_on(node, mixed, monkeypatch):
    with node() as bench:
        bench.put()
        bench.warm()
        before = bench.open()
        content = replace(
            before.content,
            models=tuple(
                replace(m, files=(*m.files, replace(m.files[0], path="old.bin")))
                for m in before.content.models
            ),
        )
        old = Generation.create(before.directory.parent, content, before.resolved)
    with node() as bench:
        bench.reconciled()
        assert bench.open().id == before.id
        assert not old.directory.exists()
