"""Which loads of vLLM can be planned, and which models can look at memory that is not vLLM's.

Asked of vLLM's configuration, before there is a model. Every answer is a reason for people; what
a version does not show counts as its usual value. Source of the fields: vLLM 0.10 to 0.33.
"""

from typing import Any

import torch
from vllm.model_executor.model_loader.base_loader import BaseModelLoader


def why_not_planned(vllm_config: Any, model_config: Any) -> str | None:  # noqa: ANN401
    """Return why no plan is made of how a model takes its weights; None when one is."""
    if _of_drafter(vllm_config, model_config):
        return "it is a drafter"
    if _device(vllm_config) is None:
        return "vLLM does not say where its parameters are"
    if not _counts_others(vllm_config):
        return "this vLLM cannot count memory on the device that is not its own; 0.32 does"
    return None


def why_no_plan_is_left(vllm_config: Any, model_config: Any) -> str | None:  # noqa: ANN401
    """Return why a plan would be of no use to the next replica; None when it would be of some.

    One of a quantised model says that it is quantised, so that nobody lays anything out by it.
    """
    if _get(model_config, "quantization"):
        return why_not_planned(vllm_config, model_config)
    return why_not_adopted(vllm_config, model_config)


def why_not_adopted(vllm_config: Any, model_config: Any) -> str | None:  # noqa: ANN401
    """Return why a model needs memory of vLLM's own; None when it does not."""
    reason = why_not_planned(vllm_config, model_config)
    if reason is not None:
        return reason
    hinders = {
        "its quantisation changes weights after they are loaded": (
            _get(model_config, "quantization") or _get(vllm_config, "quant_config")
        ),
        "sleep mode moves its weights": _get(model_config, "enable_sleep_mode"),
        "its weights are offloaded": _is_offloaded(vllm_config),
        "its experts move while it runs": _get(vllm_config, "parallel_config", "enable_eplb"),
        "a drafter reads the same files": is_drafted_from(vllm_config, model_config),
    }
    return next((why for why, so in hinders.items() if so), None)


def is_drafted_from(vllm_config: Any, model_config: Any) -> bool:  # noqa: ANN401
    """Return whether a drafter is made of the same files as this model, and after it.

    Where tokens are guessed without one, from n-grams say, the model's own configuration stands in
    the drafter's place.
    """
    drafter = _get(vllm_config, "speculative_config", "draft_model_config")
    if drafter is None or drafter is model_config:
        return False
    return bool(_get(drafter, "model") == _get(model_config, "model"))


def packs(vllm_config: Any) -> bool:  # noqa: ANN401
    """Return whether vLLM copies weights of any model after the load, as it does on a CPU."""
    device = _device(vllm_config)
    return device is not None and device.type == "cpu"


def adopting_device(vllm_config: Any, model_config: Any) -> torch.device | None:  # noqa: ANN401
    """Return where a model would look at the agent's memory; None for one that cannot."""
    if why_not_adopted(vllm_config, model_config) is not None:
        return None
    return _device(vllm_config)


def _of_drafter(vllm_config: Any, model_config: Any) -> bool:  # noqa: ANN401
    drafts = _get(model_config, "runner_type") == "draft"
    return drafts or model_config is not _get(vllm_config, "model_config")


def _is_offloaded(vllm_config: Any) -> bool:  # noqa: ANN401
    return bool(
        _get(vllm_config, "offload_config", "uva", "cpu_offload_gb")
        or _get(vllm_config, "offload_config", "prefetch", "offload_group_size")
        or _get(vllm_config, "cache_config", "cpu_offload_gb")
    )


def _counts_others(vllm_config: Any) -> bool:  # noqa: ANN401
    device = _device(vllm_config)
    on_host = device is not None and device.type == "cpu"
    return on_host or hasattr(BaseModelLoader, "get_external_weight_memory")


def _device(vllm_config: Any) -> torch.device | None:  # noqa: ANN401
    """Return where parameters are made; None where that is not told, or told apart from usual."""
    if _get(vllm_config, "load_config", "device") is not None:
        return None
    device = _get(vllm_config, "device_config", "device")
    return torch.device(device) if isinstance(device, str | torch.device) else None


def _get(value: Any, *path: str) -> Any:  # noqa: ANN401
    for name in path:
        value = getattr(value, name, None)
    return value
