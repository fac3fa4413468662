"""Load a model into two ranks, twice: ``python -m tests.engines.parallel FORMAT=DIRECTORY …``.

Prints a line per load: ``{"digests": [{parameter: sha256}, …], "tokens": [[…]]}``, a set of
digests for each rank. Runs in the vLLM venv; ranks are processes, each with its own core.
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

from tests.engines.prompts import PROMPTS, TOKENS


def digests(worker):
    """Return a digest of every parameter of this rank, as they are after packing."""
    import torch  # noqa: PLC0415 - runs in the rank

    found = {}
    for name, parameter in worker.get_model().named_parameters():
        raw = parameter.detach().contiguous().reshape(-1).view(torch.uint8)
        found[name] = hashlib.sha256(raw.numpy().tobytes()).hexdigest()
    return found


def main(orders):
    for load_format, directory in (order.split("=", 1) for order in orders):
        llm = LLM(
            model=directory,
            load_format=load_format,
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
            "tokens": [list(each.outputs[0].token_ids) for each in done],
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        llm.llm_engine.engine_core.shutdown()
        del llm, done


if __name__ == "__main__":
    main(sys.argv[1:])
