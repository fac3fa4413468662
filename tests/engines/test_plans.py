"""Plans of a real vLLM's models, in two ranks, held against its own default loader."""

import json
import os
import subprocess

import pytest

from benchmarks.node import REPOSITORY
from tests.engines.engine import environment
from tests.engines.plan_commands import COMMANDS

# The largest part of its file that a rank reads. The first model makes the groups, and only one
# with experts makes theirs.
PARTS = {
    "mixture:ep": 0.55,
    "mixture:tp": 0.55,
    "llama:tp": 0.55,
    "qwen3:tp": 0.55,
    "fp8:tp": 0.55,
    "vision:tp": 0.6,  # each rank has the vision tower
    "turned:tp": 0.95,  # matrices are read whole
}
MODELS = tuple(PARTS)
PLAIN = [model for model in MODELS if model not in ("fp8:tp", "turned:tp")]
LIMIT = 300.0  # seconds in which two ranks come up on a busy machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two ranks want two cores"),
]


@pytest.fixture(scope="module")
def answers(vllm_python, tmp_path_factory):
    """Return what both ranks say, in the order of ``MODELS``, and of ``COMMANDS`` at the end."""
    directory = tmp_path_factory.mktemp("plans")
    ranks = [_start(vllm_python, rank, directory) for rank in range(2)]
    try:
        said = [rank.communicate(timeout=LIMIT)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    for number, rank in enumerate(ranks):
        assert rank.returncode == 0, (directory / f"log-{number}").read_text()[-4000:]
    lines = [line for text in said for line in text.splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines]


@pytest.fixture
def ranks(answers, model):
    """Return what both ranks say of ``model``."""
    found = [answer for answer in answers if answer.get("model") == model]
    assert [answer["rank"] for answer in found] == [0, 1]
    return found


def _start(python, rank, directory):
    command = [python, "-m", "tests.engines.plan_ranks", str(rank), directory, *MODELS]
    with (directory / f"log-{rank}").open("w") as log:
        return subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


@pytest.mark.parametrize("model", MODELS)
def test_what_a_plan_does_not_read_may_be_anything(ranks):
    assert [rank["hollow_is_clean"] for rank in ranks] == [True, True]


@pytest.mark.parametrize("model", MODELS)
def test_memory_laid_out_by_a_plan_is_what_the_default_loader_loads(ranks):
    assert [rank["laid_out_is_clean"] for rank in ranks] == [True, True]


@pytest.mark.parametrize("model", MODELS)
def test_a_model_that_adopts_and_is_fed_the_rest_is_what_the_default_loader_loads(ranks):
    assert [rank["adopted_is_clean"] for rank in ranks] == [True, True]


@pytest.mark.parametrize("model", MODELS)
def test_a_trace_leaves_a_model_alone_and_says_the_same_again(ranks):
    told = [(r["left_alone"], r["equal_again"], r["parses"], r["reads_only"]) for r in ranks]
    assert told == [(True, True, True, True)] * 2


@pytest.mark.parametrize("model", MODELS)
def test_each_of_two_ranks_reads_its_part_of_the_bytes(ranks, model):
    print(*((r["model"], r["share"], r["memory"], r["milliseconds"], r["tensors"]) for r in ranks))
    assert all(max(rank["share"], rank["memory"]) <= PARTS[model] for rank in ranks)


@pytest.mark.parametrize("model", PLAIN)
def test_every_parameter_of_an_unquantised_model_is_laid_out(ranks):
    assert [rank["not_planned"] for rank in ranks] == [[], []]


@pytest.mark.parametrize("model", ["fp8:tp"])
def test_of_an_fp8_model_the_scales_alone_are_read_whole(ranks):
    kept = {name.rpartition("_")[2] for rank in ranks for name in rank["not_planned"]}
    assert kept == {"scale"}


@pytest.mark.parametrize("model", ["turned:tp"])
def test_matrices_that_the_model_turns_are_read_whole(ranks):
    for rank in ranks:
        assert all(
            name.endswith(("attn.weight", "proj.weight", "fc.weight"))
            for name in rank["not_planned"]
        )
        assert len(rank["not_planned"]) == 8


def test_a_command_line_and_the_configuration_it_leads_to_say_the_same(answers):
    [said] = [answer["commands"] for answer in answers if "commands" in answer]
    assert [words for words, _, _ in said] == list(COMMANDS)
    for words, engine, agent in said:
        told = (
            None
            if agent is None
            else [e if a is None else a for e, a in zip(engine, agent, strict=True)]
        )
        assert told == engine, words
    assert [words for words, engine, _ in said if engine is None] == ["-dp 2"]
