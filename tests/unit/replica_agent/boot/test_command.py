import json
from pathlib import Path

import pytest

from cache_protocol.errors import MalformedError
from replica_agent.boot.command import fill_in, health_url, takes_handover, without_handover

VLLM = ["vllm", "serve", "{model}", "--load-format", "warmline"]
ONE, TWO = {"llm": Path("/m/llm")}, {"asr": Path("/m/asr"), "tts": Path("/m/tts")}


@pytest.mark.parametrize("words", [["--load-format", "warmline"], ["--load-format=warmline"]])
def test_an_engine_that_asks_for_our_load_format_takes_a_hand_over(words):
    assert takes_handover(["vllm", "serve", "x", *words])
    assert takes_handover(["sh", "-c", f"exec vllm serve x {' '.join(words)}"])


@pytest.mark.parametrize("words", [[], ["--load-format"], ["--load-format", "auto"], ["warmline"]])
def test_any_other_command_gets_files(words):
    assert not takes_handover(["vllm", "serve", "x", *words])


@pytest.mark.parametrize(
    ("command", "url"),
    [
        ("vllm serve x", "http://127.0.0.1:8000/health"),
        ("/opt/bin/vllm serve x --host 0.0.0.0 --port=9", "http://127.0.0.1:9/health"),
        ("python -m sglang.launch_server --port 7 --host ::1", "http://[::1]:7/health"),
        ("llama-server -m x", "http://127.0.0.1:8080/health"),
        ("vllm bench serve", None),
        ("python serve.py", None),
    ],
)
def test_where_a_known_engine_says_that_it_is_ready(command, url):
    assert health_url(command.split()) == url


def test_a_name_in_braces_becomes_the_models_directory_also_inside_a_word():
    words = ["{asr}", "--tts={tts}/model", "{other}"]
    assert fill_in(words, TWO) == ["/m/asr", "--tts=/m/tts/model", "{other}"]


def test_the_only_model_goes_by_model_and_by_its_name():
    assert fill_in(["{model}", "{llm}"], ONE) == ["/m/llm", "/m/llm"]


def test_json_keeps_its_braces():
    words = [json.dumps({"model": {"a": 1}}), "{}"]
    assert fill_in(words, ONE) == words


def test_model_among_several_is_an_error_that_names_them():
    with pytest.raises(MalformedError, match=r"\{asr\}, \{tts\}"):
        fill_in(["{model}"], TWO)


def test_without_a_hand_over_the_engines_own_loader_is_asked_for():
    extra = ["--model-loader-extra-config", '{"socket": "x"}']
    assert without_handover([*VLLM, *extra, "--port", "1"]) == [
        *["vllm", "serve", "{model}", "--load-format", "auto", "--port", "1"]
    ]


def test_a_shells_command_loses_the_hand_over_too():
    script = "vllm serve x --load-format warmline & vllm serve y --load-format=warmline --port 1"
    without = "vllm serve x --load-format auto & vllm serve y --load-format auto --port 1"
    assert without_handover(["sh", "-c", script]) == ["sh", "-c", without]


def test_a_command_that_speaks_of_no_hand_over_stays_as_it_is():
    words = ["engine", "--load-format", "auto", "--x=1", "--load-format"]
    assert without_handover(words) == words
