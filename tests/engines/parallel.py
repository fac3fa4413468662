"""Load a model into two ranks, once per line of stdin, and say what they made of it.

    stdin   {"model": DIRECTORY, "load_format": "auto"}
    stdout  {"digests": [{parameter: sha256}, …], "adopted": [[parameter, …], …], "tokens": [[…]]}

Digests, and what is in memory that the agent laid out, are of each rank after weights were packed.
Runs in the vLLM venv; ranks are processes, each with its own core.
"""

import hashlib
import json
import os
import sys

os.environ.update(
    VLLM_CPU_OMP_THREADS_BIND="0|1",
    VLLM_WORKER_MULTIPROC_METHOD="spawn",
    VLLM_ALLOW_INSECURE_SERIALIZATION="1",  # a function goes to the ranks
    VLLM_LOGGING_STREAM="ext://sys.stderr",
)

from vllm import LLM, SamplingParams

from tests.engines.mappings import in_shard
from tests.engines.prompts import PROMPTS, TOKENS


def digests(worker):
    """Return a digest of every parameter of this rank, as they are after packing."""
    import torch  # noqa: PLC0415 - runs in the rank

    found = {}
    for name, parameter in worker.get_model().named_parameters():
        raw = parameter.detach().contiguous().reshape(-1).view(torch.uint8)
        found[name] = hashlib.sha256(raw.numpy().tobytes()).hexdigest()
    return found


def adopted(worker):
    """Return the parameters of this rank that are in its shard."""
    tensors = worker.get_model().named_parameters()
    return [name for name, parameter in tensors if in_shard(parameter.data_ptr())]


def main():
    for order in map(json.loads, sys.stdin):
        llm = LLM(
            model=order["model"],
            load_format=order["load_format"],
            tensor_parallel_size=2,
            enforce_eager=True,
            kv_cache_memory_bytes=2**22,
            max_model_len=64,
            max_num_seqs=4,
            max_num_batched_tokens=64,
            seed=0,
        )
        wanted = SamplingParams(temperature=0.0, max_tokens=TOKENS, ignore_eos=True)
        done = llm.generate([{"prompt_token_ids": p} for p in PROMPTS], wanted, use_tqdm=False)
        answer = {
            "digests": llm.collective_rpc(digests),
            "adopted": llm.collective_rpc(adopted),
            "tokens": [list(each.outputs[0].token_ids) for each in done],
        }
        llm.llm_engine.engine_core.shutdown()
        del llm, done
        # Now, since who hears it may end us: the ranks would stay behind.
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
