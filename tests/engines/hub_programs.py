"""Programs that know the hub alone: ``python -m tests.engines.hub_programs`` in the vLLM venv.

Each line of stdin names a repository or a directory, which transformers opens and then vLLM, one
after the other. Each answer is a line

    {"weights": {parameter: sha256}, "words": […], "tokens": [[…]]}
"""

import hashlib
import json
import os
import sys

os.environ.update(
    VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_LOGGING_STREAM="ext://sys.stderr", OMP_NUM_THREADS="1"
)

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from vllm import LLM, SamplingParams

from tests.engines.prompts import PROMPTS, TOKENS


def main():
    for line in sys.stdin:
        name = line.strip()
        print(json.dumps({**transformers(name), **vllm(name)}), flush=True)


def transformers(name):
    model = AutoModelForCausalLM.from_pretrained(name)
    return {
        "weights": {n: digest(p) for n, p in model.state_dict().items()},
        "words": AutoTokenizer.from_pretrained(name)("w1 w2 w249")["input_ids"],
    }


def vllm(name):
    llm = LLM(
        model=name,
        enforce_eager=True,
        kv_cache_memory_bytes=2**22,
        max_model_len=64,
        max_num_seqs=4,
        max_num_batched_tokens=64,
        disable_log_stats=True,
    )
    wanted = SamplingParams(temperature=0.0, max_tokens=TOKENS, ignore_eos=True)
    done = llm.generate([{"prompt_token_ids": p} for p in PROMPTS], wanted, use_tqdm=False)
    tokens = [list(each.outputs[0].token_ids) for each in done]
    llm.llm_engine.engine_core.shutdown()
    return {"tokens": tokens}


def digest(tensor):
    data = tensor.detach().contiguous().view(torch.uint8).numpy()
    return hashlib.sha256(data.tobytes()).hexdigest()


if __name__ == "__main__":
    main()
