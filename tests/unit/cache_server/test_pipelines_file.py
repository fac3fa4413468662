import re
from pathlib import Path

import pytest

from cache_protocol.errors import MalformedError
from cache_server import pipelines_file
from cache_server.pipelines_file import read_pipelines

GOOD = """
pipelines:
  - id: voice
    pinned: true
    models:
      - {name: asr, source: hf://org/asr, exclude: ["*.md"]}
      - {name: llm, source: s3://bucket/llm}
  - id: chat
    models: [{name: m, source: file:///m}]
"""


@pytest.fixture
def read(tmp_path):
    def read(text: str | bytes):
        path = tmp_path / "pipelines.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_pipelines(path)

    return read


def test_all_pipelines_are_read_in_order(read):
    voice, chat = read(GOOD)
    assert (voice.id, voice.pinned, chat.id, chat.pinned) == ("voice", True, "chat", None)
    assert [m.source for m in voice.models] == ["hf://org/asr", "s3://bucket/llm"]
    assert voice.models[0].exclude == ("*.md",)


def test_the_file_that_the_contract_shows_is_one(read):
    contract = (Path(__file__).parents[3] / "docs/contract.md").read_text()
    (voice,) = read(re.search(r"```yaml\n(pipelines:.*?)```", contract, re.DOTALL)[1])
    assert (voice.pinned, voice.body.warm) == (True, True)
    assert [m.credentials for m in voice.models] == [None, "s3-weights"]


def test_a_model_says_in_its_line_what_it_allows(read):
    line = "{name: asr, source: hf://org/asr, allow_pickle: true}"
    (voice,) = read(f"pipelines: [{{id: voice, models: [{line}]}}]")
    assert (voice.models[0].allow_pickle, voice.models[0].allow_code) == (True, False)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (GOOD.replace("exclude", "exlude"), "pipelines.0.models.0.exlude"),
        (GOOD.replace("id: chat", "id: 7"), "pipelines.1.id"),
        (GOOD.replace("id: chat", "id: voice"), "voice is there twice"),
        (GOOD.replace("pinned: true", "pinned: 1"), "pipelines.0.pinned"),
        (GOOD + "other: 1\n", "other"),
        ("", "does not begin with 'pipelines:'"),
        ("pipelines: [", "not YAML"),
        ("- 1", "does not begin with 'pipelines:'"),
        (b"\xff\xfe\xff", "not YAML"),
        ("pipelines: 2030-99-99", "not YAML"),
        ("pipelines: !!python/object:os.system x", "not YAML"),
        ("[" * 5000, "not YAML"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place(read, text, word):
    with pytest.raises(MalformedError, match=word):
        read(text)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(MalformedError, match="No such file"):
        read_pipelines(tmp_path / "missing.yaml")


def test_a_file_that_is_too_large_is_not_read(read, monkeypatch):
    monkeypatch.setattr(pipelines_file, "MAX_SIZE", 10)
    with pytest.raises(MalformedError, match="above 10 bytes"):
        read(GOOD)
