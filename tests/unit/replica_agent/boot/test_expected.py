"""What COMMAND says of the plans that hold for its engine."""

from dataclasses import replace

import pytest

from cache_protocol.plans import Key
from replica_agent.boot.expected import UntoldError, choose, expected

CHECKPOINT = "c" * 32
KEY = Key(CHECKPOINT, "vllm", "0.32.0", "cpu", "tp2", 2, 0, "bfloat16", "")
SERVE = ("vllm", "serve", "{model}", "--load-format", "warmline")


def told(*words):
    return expected([*SERVE, *words], "0.32.0", "cpu")


def test_one_rank_is_expected_where_nothing_is_said():
    found = told()
    assert (found.layout, found.ranks, found.dtype, found.quantisation) == ("tp1", 1, None, None)


@pytest.mark.parametrize(
    "words",
    [
        ("-tp", "2"),
        ("-tp=2",),
        ("--tensor-parallel-size", "2"),
        ("--tensor_parallel_size=2",),
        ("--tensor-parallel-size=4", "-tp", "2"),
    ],
)
def test_ranks_that_share_layers_are_told_in_any_way_that_the_engine_takes(words):
    assert (told(*words).layout, told(*words).ranks) == ("tp2", 2)


def test_groups_of_layers_multiply_the_ranks():
    found = told("-tp", "2", "-pp", "4")
    assert (found.layout, found.ranks) == ("tp2 pp4", 8)


@pytest.mark.parametrize("flag", ["-ep", "--enable-expert-parallel", "--enable_expert_parallel"])
def test_whole_experts_are_another_layout(flag):
    assert told("-tp", "2", flag).layout == "tp2 ep"


def test_the_last_word_on_experts_counts():
    assert told("-ep", "--no-enable-expert-parallel").layout == "tp1"
    assert told("--no-enable-expert-parallel", "-ep").layout == "tp1 ep"


@pytest.mark.parametrize(
    ("said", "dtype"), [("half", "float16"), ("float", "float32"), ("bfloat16", "bfloat16")]
)
def test_types_have_other_names(said, dtype):
    assert told("--dtype", said).dtype == dtype


def test_a_type_of_auto_is_whatever_the_model_has():
    assert told("--dtype", "auto").dtype is None


def test_a_command_inside_of_a_word_is_read_too():
    command = ["sh", "-c", "vllm serve {model} --load-format warmline -tp 2"]
    assert expected(command, "0.32.0", "cpu").ranks == 2


@pytest.mark.parametrize(
    "words",
    [
        ("--config", "serve.yaml"),
        ("--nnodes", "2"),
        ("-dp", "2"),
        ("--data_parallel_size=4",),
        ("--distributed-executor-backend", "ray"),
        ("--enable-eplb",),
        ("-pcp", "2"),
    ],
)
def test_what_does_not_tell_the_ranks_of_this_host_is_left_alone(words):
    with pytest.raises(UntoldError, match="does not tell what each rank reads"):
        told(*words)


@pytest.mark.parametrize(
    "words",
    [
        ("--enable-sleep-mode",),
        ("--no-enable-sleep-mode", "--enable_sleep_mode"),
        ("--cpu-offload-gb", "4"),
        ("--cpu_offload_gb=0.5",),
        ("--offload-group-size", "8"),
    ],
)
def test_weights_that_do_not_stay_where_they_are_loaded_are_not_laid_out(words):
    with pytest.raises(UntoldError, match="do not stay"):
        told(*words)


@pytest.mark.parametrize(
    "words",
    [
        ("--speculative-config", '{"method": "mtp", "num_speculative_tokens": 1}'),
        ('--speculative_config={"method":"deepseek_mtp","num_speculative_tokens":1}',),
        ("-sc", '{"num_speculative_tokens": 1, "method": "dspark"}', "--port", "1"),
        ("--speculative-config.method", "extract_hidden_states"),
        ("-sc.method=mtp",),
        ("--spec-method", "mtp", "--spec-tokens", "1"),
        ("--speculative-config", '{"method": "draft_model", "model": "{model}"}'),
        ("--spec-model={model}",),
    ],
)
def test_a_model_whose_drafter_reads_the_same_files_is_not_laid_out(words):
    with pytest.raises(UntoldError, match="a drafter reads the same files"):
        told(*words)


@pytest.mark.parametrize(
    "words",
    [
        ("--speculative-config", '{"method": "ngram", "num_speculative_tokens": 4}'),
        ("-sc", '{"method": "eagle3", "model": "{drafter}"}', "--served-model-name", "mtp"),
        ("--spec-method", "suffix"),
        ("--speculative-config", '{"model": "my.Proposer"}'),
        ("--served-model-name", "mtp"),
    ],
)
def test_a_model_that_no_drafter_is_made_of_is_laid_out(words):
    assert told(*words) == told()


@pytest.mark.parametrize(
    "words",
    [
        ("--nnodes", "1"),
        ("-dp=1",),
        ("--enable-sleep-mode", "--no-enable-sleep-mode"),
        ("--enable-eplb", "--no-enable-eplb"),
        ("--cpu-offload-gb=0",),
    ],
)
def test_what_changes_nothing_does_not_matter(words):
    assert told(*words) == told()


@pytest.mark.parametrize("count", ["0", "x", "-1", "²", "99999"])
def test_a_number_of_ranks_that_is_none_tells_nothing(count):
    with pytest.raises(UntoldError, match="no count"):
        told(f"-tp={count}")


def test_an_engine_that_takes_no_hand_over_has_no_plans():
    with pytest.raises(UntoldError, match="no engine"):
        expected(["vllm", "serve", "{model}"], "0.32.0", "cpu")


def test_an_engine_that_is_not_installed_has_no_plans():
    with pytest.raises(UntoldError, match="no engine"):
        expected(SERVE, None, "cpu")


def test_plans_of_all_ranks_are_chosen_in_their_order():
    keys = [replace(KEY, rank=1), KEY]
    assert choose(keys, CHECKPOINT, told("-tp", "2")) == [KEY, replace(KEY, rank=1)]


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": "d" * 32},
        {"engine": "sglang"},
        {"version": "0.31.0"},
        {"device": "cuda"},
        {"layout": "tp2 ep"},
        {"ranks": 4},
        {"dtype": "float16"},
        {"quantisation": "fp8"},
        {"rank": 0},
    ],
)
def test_a_plan_for_anything_else_does_not_stand_in_for_one_that_is_missing(change):
    keys = [KEY, replace(KEY, **{"rank": 1, **change})]
    with pytest.raises(UntoldError, match="1 of 2 ranks"):
        choose(keys, CHECKPOINT, told("-tp", "2"))


def test_plans_for_two_types_of_weights_are_told_apart_by_the_command_alone():
    both = [replace(KEY, rank=n, dtype=t) for n in range(2) for t in ("bfloat16", "float16")]
    with pytest.raises(UntoldError, match="say --dtype"):
        choose(both, CHECKPOINT, told("-tp", "2"))
    chosen = choose(both, CHECKPOINT, told("-tp", "2", "--dtype", "half"))
    assert {key.dtype for key in chosen} == {"float16"}
