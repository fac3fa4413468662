"""One of two ranks of a real vLLM: trace models, and hold the plans against what its loader does.

    python -m tests.engines.plan_ranks RANK DIRECTORY llama:tp mixture:ep …

Both have vLLM's own groups; there is no engine. DIRECTORY is common to both. Prints a line of JSON
for each model, see ``examine``; the last one is about command lines. Runs in the vLLM venv.
"""

import copy
import importlib
import json
import os
import sys
import time
from pathlib import Path

# A worker sets the last one; both ranks have to have the same.
os.environ.update(VLLM_LOGGING_STREAM="ext://sys.stderr", VLLM_DIST_IDENT="plans")

import torch
from vllm import distributed
from vllm.config import set_current_vllm_config
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.model_executor.models.registry import ModelRegistry
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.utils.torch_utils import set_default_torch_dtype

from cache_protocol.plans import dump_plan, parse_plan
from cache_protocol.ranges import Span
from cache_protocol.safetensors_header import PREFIX, TensorEntry, header_size, parse_header
from replica_agent.boot.expected import UntoldError, expected
from replica_agent.engines.installed import vllm_version
from replica_agent.engines.trace import TracedFile, trace
from replica_agent.engines.vllm_plan import MalformedError, plan_key
from replica_agent.plans.scatter import Scatter
from replica_agent.views import as_tensor, of_flat
from tests.engines import plan_models
from tests.engines.plan_commands import COMMANDS

CHECKPOINT = "0" * 32
RANKS = 2
STEP = 50_000  # bytes of a file that arrive at once; divides nothing
_CLASSES = {
    "llama": "LlamaForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "idefics3": "Idefics3ForConditionalGeneration",
}


def main(number, directory, *orders):
    number, directory = int(number), Path(directory)
    _make_known()
    if number == 0:
        for name in sorted({order.split(":")[0] for order in orders}):
            plan_models.write(name, directory / name)
    distributed.init_distributed_environment(
        RANKS, number, f"file://{directory}/store", number, "gloo"
    )
    torch.distributed.barrier()  # the models are written
    for order in orders:
        config = _config(directory, order)
        with set_current_vllm_config(config):
            # The first order's are everybody's: it has to be one of experts, or they have no group.
            distributed.ensure_model_parallel_initialized(RANKS, 1)
            _say(model=order, **examine(config, number, directory / f"void-{number}-{order}"))
    if number == 0:
        _say(commands=_commands(directory / "mixture"))
    distributed.destroy_model_parallel()
    distributed.destroy_distributed_environment()


def _make_known():
    """Name the models' classes to vLLM, which would start a process to look at each."""
    for module, name in _CLASSES.items():
        found = importlib.import_module(f"vllm.model_executor.models.{module}")
        ModelRegistry.register_model(name, getattr(found, name))


def _say(**answer):
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _config(directory, order):
    name, _, layout = order.partition(":")
    return EngineArgs(
        model=str(directory / name), skip_tokenizer_init=True, enforce_eager=True,
        max_model_len=64, tensor_parallel_size=RANKS, enable_expert_parallel=layout == "ep",
    ).create_engine_config()  # fmt: skip


def examine(config, number, void):
    """Return what a trace says of a model, and what comes of loading by it."""
    directory = Path(config.model_config.model)
    with set_default_torch_dtype(config.model_config.dtype), torch.device("cpu"):
        model = initialize_model(config)
    files = {path.name: path.read_bytes() for path in sorted(directory.glob("*.safetensors"))}
    listed = [_traced(path, content) for path, content in files.items()]
    key = plan_key(CHECKPOINT, config.model_config, config, number)
    before = _state(model)
    began = time.perf_counter()
    traced = trace(model, listed, model.load_weights, key)
    took = time.perf_counter() - began
    plan = traced.plan
    assert plan is not None, traced.reason
    again = trace(model, listed, model.load_weights, key).plan
    left_alone = _same(before, _state(model))
    _write_void(plan, files, directory, void)
    clean = _loaded(model, before, config, directory)
    hollow = _loaded(model, before, config, void)
    laid = _laid_out(plan, files)
    adopted = _adopted(model, before, plan, laid, files)
    size = sum(map(len, files.values()))
    return {
        "rank": number,
        "milliseconds": round(1000 * took, 1),
        "tensors": sum(len(file.entries) for file in listed),
        "reads_only": traced.reads_only,
        "left_alone": left_alone,
        "equal_again": dump_plan(again) == dump_plan(plan),
        "parses": parse_plan(dump_plan(plan)) == plan,
        "share": round(plan.read / size, 3),
        "memory": round(plan.size / size, 3),
        "not_planned": sorted(name for name, _ in model.named_parameters() if name not in laid),
        "hollow_is_clean": _same(clean, hollow),
        "laid_out_is_clean": all(_bits(clean[name]) == _bits(laid[name]) for name in laid),
        "adopted_is_clean": _same(clean, adopted),
    }


def _traced(path, content):
    count = header_size(content[:PREFIX], file_size=len(content))
    entries = parse_header(content[PREFIX : PREFIX + count], file_size=len(content))
    return TracedFile(path, len(content), PREFIX + count, entries)


def _loaded(model, before, config, directory):
    """Return what vLLM's default loader makes of ``directory``."""
    _restore(model, before)
    model_config = copy.copy(config.model_config)
    model_config.model = str(directory)
    DefaultModelLoader(config.load_config).load_weights(model, model_config)
    return _state(model)


def _write_void(plan, files, directory, void):
    """Copy ``directory``, with all bits set in every byte that ``plan`` does not read."""
    void.mkdir()
    for path in directory.glob("*.json"):
        (void / path.name).write_bytes(path.read_bytes())
    for path, content in files.items():
        hollow = bytearray(b"\xff") * len(content)
        for begin, end in _read(plan, path):
            hollow[begin:end] = content[begin:end]
        (void / path).write_bytes(hollow)


def _read(plan, path):
    """Yield begin and end of what ``plan`` reads of the file ``path``."""
    for piece in plan.pieces:
        for n in range(piece.runs if plan.files[piece.file].path == path else 0):
            begin = piece.begin + n * piece.pitch
            yield begin, begin + piece.run
    for file, begin, end in plan.kept:
        if plan.files[file].path == path:
            yield begin, end


def _laid_out(plan, files):
    """Return the planned parameters by name, in memory as an agent lays it out."""
    memory = bytearray(plan.size)
    scatter = Scatter([plan], list(files))
    for number, content in enumerate(files.values()):
        for begin in range(0, len(content), STEP):
            part = content[begin : begin + STEP]
            for write in scatter.writes(number, Span(begin, begin + len(part))):
                for n in range(write.runs):
                    at, to = write.source + n * write.pitch, write.place + n * write.stride
                    memory[to : to + write.run] = part[at : at + write.run]
    flat = torch.frombuffer(memory, dtype=torch.uint8)
    placed = zip(plan.parameters, plan.places, strict=False)
    return {p.name: of_flat(flat, TensorEntry(*p, Span(at, at + p.size))) for p, at in placed}


def _adopted(model, before, plan, laid, files):
    """Return ``model`` with the parameters ``laid``, fed only what the plan keeps."""
    _restore(model, before)
    for name, tensor in model.named_parameters():
        tensor.data = laid.get(name, tensor.data)
    model.load_weights(
        (entry.name, as_tensor(memoryview(bytearray(content)), entry))
        for path, content in files.items()
        for entry in _traced(path, content).entries
        if _is_kept(plan, path, entry.span)
    )
    return _state(model)


def _is_kept(plan, path, span):
    kept = (each for each in plan.kept if plan.files[each.file].path == path)
    return any(each.begin <= span.begin and span.end <= each.end for each in kept)


def _state(model):
    return {n: t.detach().clone() for n, t in (*model.named_parameters(), *model.named_buffers())}


def _restore(model, state):
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        tensor.data.copy_(state[name])


def _same(one, other):
    return one.keys() == other.keys() and all(_bits(one[n]) == _bits(other[n]) for n in one)


def _bits(tensor):
    return tensor.shape, tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _commands(model):
    """Return what the engine and the agent make of each of ``COMMANDS``."""
    parser = EngineArgs.add_cli_args(FlexibleArgumentParser())
    return [
        [words, _by_engine(parser, model, words), _by_agent(model, words)] for words in COMMANDS
    ]


def _by_engine(parser, model, words):
    args = parser.parse_args(["--model", str(model), "--skip-tokenizer-init", *words.split()])
    config = EngineArgs.from_cli_args(args).create_engine_config()
    try:
        key = plan_key(CHECKPOINT, config.model_config, config, 0)
    except MalformedError:
        return None
    return [key.engine, key.version, key.device, key.layout, key.ranks, key.dtype, key.quantisation]


def _by_agent(model, words):
    command = ["vllm", "serve", str(model), "--load-format", "warmline", *words.split()]
    try:
        found = expected(command, vllm_version(), "cpu")
    except UntoldError:
        return None
    return [
        found.engine, found.version, found.device, found.layout, found.ranks, found.dtype,
        found.quantisation,
    ]  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
