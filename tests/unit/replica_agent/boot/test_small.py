import pytest

from replica_agent.boot.small import MOST, is_small


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("config.json", 700),
        ("tokenizer.json", 35_000_000),
        ("tokenizer.model", 4_000_000),
        ("model.safetensors.index.json", 90_000),
        ("voices/af.pt", 500_000),
        ("chat_template.jinja", 0),
    ],
)
def test_what_an_engine_reads_as_it_starts_is_small(path, size):
    assert is_small(path, size)


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("model.safetensors", 10),
        ("pytorch_model.bin", 2 * 2**20),
        ("original/consolidated.00.pth", 2 * 2**30),
        ("model.Q4_K.GGUF", 2**30),
        ("anything.json", MOST + 1),
    ],
)
def test_weights_are_not(path, size):
    assert not is_small(path, size)
