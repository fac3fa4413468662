"""The loader that vLLM uses for ``--load-format warmline``, from 0.10 to 0.33.

    load_weights      feed the model as tensors become whole, wait until every file is
                      confirmed; otherwise load from the origin, or fail
    get_all_weights   the same weights once more, for a reload in place
    download_model    nothing: the agent does that, and began before vLLM was imported

The agent is found by the model's path, or by ``--model-loader-extra-config '{"socket": …,
"model": …}'``. A model at another path, a drafter say, is none of ours and is loaded as usual.
Nothing of ours stays in the process after a load, unless a drafter of the same checkpoint
follows: that one is served from the mapping that is there.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm import config as vllm_config
from vllm import distributed
from vllm.logger import init_logger
from vllm.model_executor.model_loader.base_loader import BaseModelLoader
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

from cache_protocol.errors import CacheError, MalformedError
from replica_agent.engines.detour import fetch
from replica_agent.engines.load import Load
from replica_agent.handover.messages import Outcome
from replica_agent.handover.place import Place, read_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import nn

_log = init_logger("vllm.replica_agent.loader")

_EXTRA = {"socket", "model"}
# What vLLM's own loaders read in a way of their own; they are left to it.
_REBUILT = ("torchao", "bitsandbytes")
_FAILURES = (CacheError, OSError)  # of ours; what the model itself raises is not caught

# By socket and model: what a load leaves open for the drafter that follows it.
_kept: dict[tuple[Path, str], Load] = {}


class WarmlineLoader(BaseModelLoader):  # type: ignore[misc]  # mypy sees no vLLM
    """Loads models out of the agent's memory. Constructed several times: no side effects."""

    def __init__(self, load_config: Any) -> None:  # noqa: ANN401 - vLLM's classes are not here
        """Check the extra config; ValueError for unknown keys, as vLLM's own loaders do."""
        super().__init__(load_config)
        extra = load_config.model_loader_extra_config or {}
        if not isinstance(extra, dict) or set(extra) not in (set(), _EXTRA):
            raise ValueError(
                f"load format {load_config.load_format} takes {sorted(_EXTRA)} together as its "
                "extra config, and nothing else"
            )
        self._extra: dict[str, str] = extra

    def download_model(self, model_config: Any) -> None:  # noqa: ANN401
        """Do nothing: what an engine needs first is on disk, and the rest comes into memory."""

    def load_weights(self, model: "nn.Module", model_config: Any) -> None:  # noqa: ANN401
        """Load ``model``; return once what it was fed is confirmed.

        Raises:
            CacheError: it cannot be, and the boot was told to fail then.
        """
        place = self._place(model_config)
        if place is None:
            self._default().load_weights(model, model_config)
            return
        key = (place.socket, place.model)
        load = _kept.pop(key, None) or _new_load(place, model)
        try:
            self._load(load, place, model, model_config)
        except BaseException as error:
            load.outcome, load.reason = Outcome.FAILED, str(error) or repr(error)
            _end(load)
            raise
        if load.outcome is Outcome.LOADED and _drafter_follows(model_config):
            _kept[key] = load
        else:
            _end(load)

    def get_all_weights(
        self,
        model_config: Any,  # noqa: ANN401
        model: "nn.Module",
    ) -> "Iterator[tuple[str, torch.Tensor]]":
        """Yield the weights again; what is yielded is confirmed already.

        Raises:
            CacheError: the agent has them no more, and the boot was told to fail then.
        """
        place = self._place(model_config)
        if place is None:
            yield from self._default().get_all_weights(model_config, model)
            return
        with _new_load(place, model) as load:
            try:
                weights = load.confirmed()
            except _FAILURES as error:
                _go_around(load, place, model_config, error)
                weights = self._default().get_all_weights(model_config, model)
            yield from weights
            load.tell()

    def _load(self, load: Load, place: Place, model: "nn.Module", model_config: Any) -> None:  # noqa: ANN401
        """Load from the agent, else from the origin."""
        try:
            load.attach()  # before anything else: the agent wants to know how it ends
            _check_plain(model, model_config)
            load.run(
                lambda weights: _feed(model, model_config, weights), once=not _takes_two(model)
            )
        except _FAILURES as error:
            _go_around(load, place, model_config, error)
            self._default().load_weights(model, model_config)

    def _default(self) -> Any:  # noqa: ANN401
        """Return the loader that vLLM would have used."""
        config = dataclasses.replace(
            self.load_config, load_format="auto", model_loader_extra_config={}
        )
        return DefaultModelLoader(config)

    def _place(self, model_config: Any) -> Place | None:  # noqa: ANN401
        """Return where the agent hands the model over; None for a model that is none of ours."""
        directory = Path(model_config.model)
        if not self._extra:
            return read_place(directory)
        if not directory.is_dir() or any(directory.glob("*.safetensors")):
            return None
        known = read_place(directory) or Place(Path(), "")
        return dataclasses.replace(
            known, socket=Path(self._extra["socket"]), model=self._extra["model"]
        )


def _go_around(load: Load, place: Place, model_config: Any, error: Exception) -> None:  # noqa: ANN401
    """Bring the model from its origin to where vLLM's own loader looks; or raise ``error``."""
    if place.fallback == "fail" or place.origin is None:
        raise error
    _log.warning("%s is loaded from its origin: %s", place.model, error)
    fetch(place.origin, Path(model_config.model))
    load.outcome, load.reason = Outcome.ORIGIN, str(error) or repr(error)


def _end(load: Load) -> None:
    load.tell()
    load.close()


def _new_load(place: Place, model: "nn.Module") -> Load:
    rank, peers = _ranks()
    patterns = getattr(model, "allow_patterns_overrides", None)
    return Load(place, rank=rank, peers=peers, patterns=patterns)


def _feed(
    model: "nn.Module",
    model_config: Any,  # noqa: ANN401
    weights: "Iterator[tuple[str, torch.Tensor]]",
) -> None:
    """Feed ``model``; ValueError when the checkpoint lacks a parameter."""
    loaded = model.load_weights(weights)  # type: ignore[operator]  # every model of vLLM has it
    if loaded is None or model_config.quantization is not None:
        return
    # Source: DefaultModelLoader. What layers make themselves is no part of a checkpoint.
    made = {
        f"{name}.{parameter}" if name else parameter
        for name, module in model.named_modules()
        if hasattr(getattr(module, "quant_method", None), "process_weights_after_loading")
        for parameter, _ in module.named_parameters()
    }
    missing = {name for name, _ in model.named_parameters()} - loaded - made
    if missing:
        raise ValueError(f"the checkpoint has no weights for {sorted(missing)}")


def _takes_two(model: "nn.Module") -> bool:
    """Return whether ``model`` can be fed again over weights that turned out to be void.

    Layers that quantise while they load have consumed their parameters by then.
    """
    methods = (getattr(module, "quant_method", None) for module in model.modules())
    return not any(getattr(method, "uses_meta_device", False) for method in methods)


def _check_plain(model: "nn.Module", model_config: Any) -> None:  # noqa: ANN401
    """Raise MalformedError for what takes more than the checkpoint's tensors as they are."""
    if getattr(model, "secondary_weights", ()):
        raise MalformedError("the model takes weights of other models, too")
    if model_config.quantization in _REBUILT:
        raise MalformedError(
            f"{model_config.quantization} rebuilds its tensors while it reads files"
        )


def _ranks() -> tuple[int, int]:
    """Return this process' rank, and how many of this host load the same model."""
    rank = distributed.get_tensor_model_parallel_rank()
    known = _current_config()
    if known is None:
        return rank, distributed.get_tensor_model_parallel_world_size()
    parallel = known.parallel_config
    ranks = getattr(parallel, "local_world_size", parallel.world_size)
    return rank, ranks * max(1, getattr(parallel, "data_parallel_size_local", 1))


def _drafter_follows(model_config: Any) -> bool:  # noqa: ANN401
    """Return whether this process will load a drafter of the very same checkpoint next."""
    speculative = getattr(_current_config(), "speculative_config", None)
    drafter = getattr(speculative, "draft_model_config", None)
    if drafter is None or drafter is model_config or drafter.model != model_config.model:
        return False
    return bool(distributed.get_pp_group().is_last_rank)  # the only ones with a drafter


def _current_config() -> Any:  # noqa: ANN401
    """Return vLLM's configuration of this process, None where a version does not show it."""
    get = getattr(vllm_config, "get_current_vllm_config_or_none", None)
    return None if get is None else get()
