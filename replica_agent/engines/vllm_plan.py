"""What plans hold for in a vLLM: the key, from its configuration. Imports nothing of vLLM.

What it says has to be what ``boot.expected`` makes of the command line that led to it; where that
cannot say there is no use in a plan, and no key.
"""

from typing import Any

from cache_protocol.errors import MalformedError
from cache_protocol.plans import Key
from replica_agent.engines.installed import vllm_version
from replica_agent.plans.layout import VLLM, Layout

# Attributes of the parallel configuration, some of newer versions only, and what they have to be.
_PLAIN = {
    "data_parallel_size": 1,
    "prefill_context_parallel_size": 1,
    "nnodes": 1,
    "enable_eplb": False,
    "enable_elastic_ep": False,
}


def plan_key(checkpoint: str, model_config: Any, config: Any, rank: int) -> Key:  # noqa: ANN401
    """Return what a plan of this process holds for.

    Args:
        checkpoint: digest of the model's weights.
        model_config: vLLM's, of the model that is loaded.
        config: vLLM's own, of this process; None where a version does not show it.
        rank: of this process in the engine's world.

    Raises:
        MalformedError: no plan could be found again for what this is.
    """
    version = vllm_version()
    if config is None or version is None:
        raise MalformedError("this vLLM does not tell its configuration")
    if model_config is not config.model_config:
        raise MalformedError("a drafter has no plan")
    layout = _layout(config.parallel_config)
    return Key(
        checkpoint=checkpoint,
        engine=VLLM,
        version=version,
        device=str(config.device_config.device_type),
        layout=layout.words,
        ranks=layout.ranks,
        rank=rank,
        dtype=str(model_config.dtype).removeprefix("torch."),
        quantisation=str(model_config.quantization or ""),
    )


def _layout(parallel: Any) -> Layout:  # noqa: ANN401
    for name, plain in _PLAIN.items():
        value = getattr(parallel, name, plain)
        if value != plain:
            raise MalformedError(f"a vLLM with {name} {value} has no plan")
    return Layout(
        parallel.tensor_parallel_size,
        parallel.pipeline_parallel_size,
        bool(parallel.enable_expert_parallel),
    )
