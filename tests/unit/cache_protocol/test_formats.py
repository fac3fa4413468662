import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import UnsafeContentError
from cache_protocol.formats import (
    CODE,
    PICKLES,
    TENSORS,
    Hazard,
    check_weights,
    hazard,
    left_out,
    sift,
)


@pytest.mark.parametrize(
    "path",
    [
        "pytorch_model.bin",
        "pytorch_model-00001-of-00002.bin",
        "voices/af.pt",
        "original/consolidated.00.pth",
        "last.CKPT",
        "vectors.pkl",
        "checkpoint.pth.tar",
        "weights.pkl.gz",
        ".bin",
    ],
)
def test_what_is_unpickled_is_a_pickle(path: str):
    assert hazard(path) is Hazard.PICKLE


@pytest.mark.parametrize(
    "path", ["modeling_x.py", "sub/__init__.PY", "a.pyc", "lib.so", "lib.so.1.2", "run.sh"]
)
def test_what_is_imported_linked_or_run_is_code(path: str):
    assert hazard(path) is Hazard.CODE


@pytest.mark.parametrize(
    "path",
    [
        "model.safetensors",
        "model-q4.gguf",
        "model.onnx",
        "config.json",
        "pytorch_model.bin.index.json",
        "tokenizer.model",
        "chat_template.jinja",
        "model.ckpt.data-00000-of-00001",
        "voice.so.onnx",
        "models.py/config.json",
        "bin",
        "LICENSE",
        "",
    ],
)
def test_what_holds_numbers_or_text_is_data(path: str):
    assert hazard(path) is None


@pytest.mark.parametrize("suffix", sorted(PICKLES | CODE))
def test_capitals_and_an_end_that_file_systems_drop_hide_nothing(suffix: str):
    assert hazard(f"a{suffix.upper()}") is hazard(f"a{suffix}. ") is hazard(f"a{suffix}")
    assert hazard(f"a{suffix}") is not None


def test_no_form_is_weights_without_harm_and_a_hazard():
    assert not TENSORS & (PICKLES | CODE)


def test_only_what_was_allowed_is_kept():
    assert left_out("a.bin", ()) is Hazard.PICKLE
    assert left_out("a.bin", (Hazard.CODE,)) is Hazard.PICKLE
    assert left_out("a.bin", (Hazard.PICKLE,)) is None
    assert left_out("a.py", (Hazard.PICKLE,)) is Hazard.CODE
    assert left_out("a.json", ()) is None


@pytest.mark.parametrize("kept", [{}, {"config.json": 5}])
def test_a_model_whose_only_weights_are_pickles_is_refused_with_the_switch(kept: dict[str, int]):
    out = {"b.bin": 1, "a.bin": 9, "a.py": 1}
    with pytest.raises(
        UnsafeContentError, match=r"hf://o/n: 2 files .*'a.bin'.* say --allow-pickle"
    ):
        check_weights("hf://o/n", kept, out, "--allow-{}")


def test_a_model_that_is_nothing_but_code_is_refused_with_the_switch():
    with pytest.raises(UnsafeContentError, match=r"1 files .*'a.py'.* say allow_code"):
        check_weights("hf://o/n", {}, {"a.py": 1}, "allow_{}")


@pytest.mark.parametrize("kept", ["a.safetensors", "a/B.GGUF", "model.onnx"])
def test_a_model_with_other_weights_does_without_its_pickles(kept: str):
    check_weights("hf://o/n", {"config.json": 1, kept: 1}, {"a.bin": 9}, "allow_{}")


def test_weights_of_a_form_that_nobody_knows_are_told_by_their_size():
    check_weights("hf://o/n", {"model.plan": 9}, {"training_args.bin": 1}, "allow_{}")


def test_a_model_without_weights_does_without_its_code():
    check_weights("hf://o/n", {"config.json": 1}, {"a.py": 9}, "allow_{}")


@pytest.mark.parametrize("kept", [{}, {"config.json": 1}])
def test_a_model_that_lost_nothing_is_no_matter_of_ours(kept: dict[str, int]):
    check_weights("hf://o/n", kept, {}, "allow_{}")


def test_sifting_leaves_what_belongs_to_the_model():
    sizes = {"a.safetensors": 9, "a.bin": 9, "x.py": 1}
    assert sift("hf://o/n", sizes, (), "allow_{}") == ["a.safetensors"]
    assert sift("hf://o/n", sizes, (Hazard.CODE,), "allow_{}") == ["a.safetensors", "x.py"]


@given(st.text(max_size=40), st.text(string.ascii_lowercase, max_size=8))
def test_a_directory_does_not_change_what_a_file_is(directory: str, name: str):
    assert hazard(f"{directory}/{name}.bin") is Hazard.PICKLE
