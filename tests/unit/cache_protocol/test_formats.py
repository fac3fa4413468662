import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import UnsafeContentError
from cache_protocol.formats import CODE, PICKLES, TENSORS, Hazard, check_weights, hazard, left_out


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


@pytest.mark.parametrize("kept", [[], ["config.json"]])
def test_a_model_whose_only_weights_are_pickles_is_refused_with_the_switch(kept: list[str]):
    out = {"b.bin": Hazard.PICKLE, "a.bin": Hazard.PICKLE, "a.py": Hazard.CODE}
    with pytest.raises(
        UnsafeContentError, match=r"hf://o/n: 2 files .*'a.bin'.* say --allow-pickle"
    ):
        check_weights("hf://o/n", kept, out, "--allow-{}")


def test_a_model_that_is_nothing_but_code_is_refused_with_the_switch():
    with pytest.raises(UnsafeContentError, match=r"1 files .*'a.py'.* say allow_code"):
        check_weights("hf://o/n", [], {"a.py": Hazard.CODE}, "allow_{}")


@pytest.mark.parametrize("kept", ["a.safetensors", "a/B.GGUF", "model.onnx"])
def test_a_model_with_other_weights_does_without_its_pickles(kept: str):
    check_weights("hf://o/n", ["config.json", kept], {"a.bin": Hazard.PICKLE}, "allow_{}")


def test_a_model_without_weights_does_without_its_code():
    check_weights("hf://o/n", ["config.json"], {"a.py": Hazard.CODE}, "allow_{}")


@pytest.mark.parametrize("kept", [[], ["config.json"]])
def test_a_model_that_lost_nothing_is_no_matter_of_ours(kept: list[str]):
    check_weights("hf://o/n", kept, {}, "allow_{}")


@given(st.text(max_size=40), st.text(string.ascii_lowercase, max_size=8))
def test_a_directory_does_not_change_what_a_file_is(directory: str, name: str):
    assert hazard(f"{directory}/{name}.bin") is Hazard.PICKLE
