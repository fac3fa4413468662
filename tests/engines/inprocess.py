"""Run a real vLLM in this process, once per line of stdin, and say what it made of the model.

    stdin   {"model": DIRECTORY, "load_format": "auto", "extra": {}, "reload": false}
    stdout  {"digests": {parameter: sha256}, "tokens": [[…]], "adopted": [parameter, …],
             "left": […], "after": […]}

or ``{"error": …}``. Runs in the vLLM venv. Digests are taken before weights are packed; ``left``
is what of ours is in the process then, ``after`` when the engine has gone.
"""

import gc
import hashlib
import json
import os
import sys
import threading
from pathlib import Path

os.environ.update(
    VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_LOGGING_STREAM="ext://sys.stderr", OMP_NUM_THREADS="1"
)

import torch
from vllm import LLM, SamplingParams
from vllm.model_executor.model_loader import base_loader

from tests.engines.mappings import in_shard
from tests.engines.prompts import PROMPTS, TOKENS

_digests = {}
_adopted = []


def main():
    pack = base_loader.process_weights_after_loading

    def packed(model, *args):
        _digests.update({n: digest(p) for n, p in model.named_parameters()})
        _adopted.extend(n for n, p in model.named_parameters() if in_shard(p.data_ptr()))
        left.update(ours())
        return pack(model, *args)

    base_loader.process_weights_after_loading = packed
    for line in sys.stdin:
        order = json.loads(line)
        _digests.clear()
        _adopted.clear()
        left = set()
        try:
            answer = {**run(order), "digests": dict(_digests), "left": sorted(left)}
            answer |= {"adopted": list(_adopted), "after": sorted(ours())}
        except Exception as error:
            answer = {"error": repr(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def run(order):
    llm = LLM(
        model=order["model"],
        load_format=order["load_format"],
        model_loader_extra_config=order.get("extra", {}),
        enforce_eager=True,
        kv_cache_memory_bytes=2**22,
        max_model_len=64,
        max_num_seqs=4,
        max_num_batched_tokens=64,
        seed=0,
        disable_log_stats=True,
    )
    if order.get("reload"):
        llm.collective_rpc("reload_weights")
    wanted = SamplingParams(temperature=0.0, max_tokens=TOKENS, ignore_eos=True)
    done = llm.generate([{"prompt_token_ids": p} for p in PROMPTS], wanted, use_tqdm=False)
    tokens = [list(each.outputs[0].token_ids) for each in done]
    llm.llm_engine.engine_core.shutdown()
    del llm, done
    gc.collect()
    return {"tokens": tokens}


def digest(parameter):
    raw = parameter.detach().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(raw.numpy().tobytes()).hexdigest()


def ours():
    """Return what of ours is in this process: mappings, descriptors, threads."""
    gc.collect()
    maps = Path("/proc/self/maps").read_text().splitlines()
    links = [os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    names = [t.name for t in threading.enumerate() if "warmline" in t.name or "pull" in t.name]
    return {x for x in [*maps, *links] if "memfd:" in x and "llm" in x} | set(names)


if __name__ == "__main__":
    main()
