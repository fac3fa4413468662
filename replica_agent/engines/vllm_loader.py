"""The loader that vLLM uses for ``--load-format warmline``, from 0.10 to 0.33.

    get_external_weight_memory   attach to the agent; say what it holds of us on the device
    load_model        as vLLM does, without memory for parameters that the agent has laid out
    load_weights      have the model look at those, or feed it as tensors become whole; wait until
                      every file is confirmed; otherwise load from the origin, or fail
    get_all_weights   the same weights once more, for a reload in place
    download_model    nothing: the agent does that, and began before vLLM was imported

The agent is found by the model's path, or by ``--model-loader-extra-config '{"socket": …,
"model": …}'``. A model at another path, a drafter say, is none of ours and is loaded as usual.
Nothing of ours stays in the process after a load but memory that parameters look at, unless a
drafter of the same checkpoint follows: that one is served from the mapping that is there.
"""

import dataclasses
from collections.abc import Collection
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vllm import config as vllm_config
from vllm import distributed
from vllm.logger import init_logger
from vllm.model_executor.model_loader.base_loader import BaseModelLoader
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

from cache_protocol.errors import CacheError, MalformedError
from cache_protocol.plans import Key
from cache_protocol.units import show_size
from replica_agent.engines.deferred import Deferred
from replica_agent.engines.detour import fetch
from replica_agent.engines.load import Load
from replica_agent.engines.planned import Planning, Subject
from replica_agent.engines.registration import not_pinned
from replica_agent.engines.vllm_adoption import (
    adopting_device,
    is_drafted_from,
    packs,
    why_no_plan_is_left,
    why_not_planned,
)
from replica_agent.engines.vllm_plan import plan_key
from replica_agent.handover.generations import MixedError
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

# By socket and model: what was begun before the model was made, and what a load leaves open for
# the drafter that follows it. vLLM makes a loader for each step.
_kept: dict[tuple[Path, str], Load] = {}


class _Loaded(NamedTuple):
    """A load that is over, while the rest of the model is not."""

    load: Load
    planning: Planning | None


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
        self._vllm_config: Any = None  # of the model that is being made
        self._deferred: Deferred | None = None
        self._loaded: _Loaded | None = None
        self._adopted: Planning | None = None

    def download_model(self, model_config: Any) -> None:  # noqa: ANN401
        """Do nothing: what an engine needs first is on disk, and the rest comes into memory."""

    def get_external_weight_memory(self, vllm_config: Any) -> int:  # noqa: ANN401
        """Return how many bytes of the device the agent holds for us; it takes them from budgets.

        Since vLLM 0.32, before the model is made. A failure shows when the model is loaded.
        """
        with suppress(*_FAILURES):
            load = self._begin(vllm_config, vllm_config.model_config)
            return 0 if load is None else load.declare()
        return 0

    def load_model(
        self,
        vllm_config: Any,  # noqa: ANN401
        model_config: Any,  # noqa: ANN401
        *args: Any,  # noqa: ANN401
        **more: Any,  # noqa: ANN401
    ) -> "nn.Module":
        """Make the model and load it; it has memory of its own only for what is not adopted."""
        self._vllm_config = vllm_config
        try:
            self._deferred = self._defer(vllm_config, model_config)
            with self._deferred or nullcontext():
                made: nn.Module = super().load_model(vllm_config, model_config, *args, **more)
            if self._adopted is not None and packs(vllm_config):
                self._adopted.move_out()
            self._finish()
        except BaseException as error:
            self._give_up(model_config, error)
            raise
        finally:
            self._vllm_config = self._deferred = self._loaded = self._adopted = None
        return made

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
        load = _kept.pop(key, None) or _new_load(place)
        load.patterns = getattr(model, "allow_patterns_overrides", None)
        try:
            planning = self._load(load, place, model, model_config)
        except BaseException as error:
            _fail(load, error)
            raise
        self._loaded = _Loaded(load, planning)
        self._adopted = planning if load.adopted else None
        if load.outcome is Outcome.LOADED and _drafter_follows(model_config):
            _kept[key] = load
        if planning is None or planning.plan is None or packs(self._vllm_config):
            self._finish()
        else:
            planning.remember()  # what vLLM does to its parameters next decides

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
        with _new_load(place) as load:
            load.patterns = getattr(model, "allow_patterns_overrides", None)
            try:
                weights = load.confirmed()
            except _FAILURES as error:
                _go_around(load, place, model_config, error)
                weights = self._default().get_all_weights(model_config, model)
            yield from weights
            load.tell()

    def _begin(self, vllm_config: Any, model_config: Any) -> Load | None:  # noqa: ANN401
        """Return the load of a model that is not made yet; None for one that is none of ours."""
        place = self._place(model_config)
        if place is None:
            return None
        key = (place.socket, place.model)
        if key not in _kept:
            adopts = adopting_device(vllm_config, model_config) is not None
            _kept[key] = _new_load(place, vllm_config, adopts=adopts)
        return _kept[key]

    def _defer(self, vllm_config: Any, model_config: Any) -> Deferred | None:  # noqa: ANN401
        """Return what makes a model without memory, where the agent has it laid out."""
        device = adopting_device(vllm_config, model_config)
        if device is None:
            return None
        with suppress(*_FAILURES):  # it shows when the model is loaded
            load = self._begin(vllm_config, model_config)
            if load is not None and load.laid_out:
                return Deferred(device)
        return None

    def _finish(self) -> None:
        """Tell the agent how the load ended, and what it reads, once nothing can change that."""
        loaded, self._loaded = self._loaded, None
        if loaded is None:
            return
        load, planning = loaded
        _leave_plan(load, planning)
        if load not in _kept.values():
            _end(load)

    def _give_up(self, model_config: Any, error: BaseException) -> None:  # noqa: ANN401
        """Tell the agent of a model that could not be made."""
        if self._loaded is not None:
            _fail(self._loaded.load, error)
        with suppress(*_FAILURES):
            place = self._place(model_config)
            load = _kept.pop((place.socket, place.model), None) if place else None
            if load is not None:
                _fail(load, error)

    def _load(
        self,
        load: Load,
        place: Place,
        model: "nn.Module",
        model_config: Any,  # noqa: ANN401
    ) -> Planning | None:
        """Load from the agent, else from the origin; return the plans that were made."""
        memory = self._planning(model, model_config)
        planning = memory if self._is_planned(model, model_config) else None
        if planning is None and any(p.is_cuda for p in model.parameters()):
            load.copied = not_pinned("this load is not traced")
        try:
            load.attach()  # before anything else: the agent wants to know how it ends
            load.hold(memory)
            if planning is None:
                memory.settle()
            _check_plain(model, model_config)
            load.run(
                lambda weights, there: _feed(model, model_config, weights, there),
                once=not _takes_two(model),
                planning=planning,
            )
        except _FAILURES as error:
            _go_around(load, place, model_config, error)
            memory.abandon()  # not before: by now the agent has let go of it as well, most likely
            self._default().load_weights(model, model_config)
            return None
        _tell_of(load, planning)
        return planning

    def _is_planned(self, model: "nn.Module", model_config: Any) -> bool:  # noqa: ANN401
        """Return whether this load is traced."""
        config = self._vllm_config
        if config is None or not _takes_two(model):
            return False
        reason = why_not_planned(config, model_config)
        if reason is not None:
            _log.info("the reads of %s are not planned: %s", model_config.model, reason)
        return reason is None

    def _planning(self, model: "nn.Module", model_config: Any) -> Planning:  # noqa: ANN401
        """Return the plans of this load, and what becomes of its memory where it has none."""
        config = self._vllm_config

        def key(checkpoint: str) -> Key:
            why = why_no_plan_is_left(config, model_config)
            if why is not None:
                raise MalformedError(why)
            return plan_key(checkpoint, model_config, config, _rank())

        return Planning(Subject(model, key, model.load_weights), self._deferred)  # type: ignore[arg-type]

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


def _leave_plan(load: Load, planning: Planning | None) -> None:
    """Leave a plan for the next replica, unless parameters do not stay where they were loaded."""
    if planning is None or planning.plan is None:
        return
    moved = planning.moved()
    if moved and not planning.useless:
        _log.warning(
            "vLLM made %d parameters anew after the load, %s one of them: %s",
            *(len(moved), moved[0]),
            "the agent's memory of them is of no use" if load.adopted else "there is no plan",
        )
    elif not load.adopted and (document := planning.document) is not None:
        with suppress(*_FAILURES):  # it has gone
            load.leave(document)


def _go_around(load: Load, place: Place, model_config: Any, error: Exception) -> None:  # noqa: ANN401
    """Bring the model from its origin to where vLLM's own loader looks; or raise ``error``."""
    if place.fallback == "fail" or place.origin is None or not _is_right(place, error):
        raise error
    _log.warning("%s is loaded from its origin: %s", place.model, error)
    fetch(place.origin, Path(model_config.model))
    load.outcome, load.reason = Outcome.ORIGIN, str(error) or repr(error)


def _is_right(place: Place, error: Exception) -> bool:
    """Return whether the origin has what other ranks of the model have, if they have anything."""
    if not isinstance(error, MixedError) or place.origin is None:
        return True
    return place.origin.revision is not None and place.generation == error.taken


def _fail(load: Load, error: BaseException) -> None:
    load.outcome, load.reason = Outcome.FAILED, str(error) or repr(error)
    _end(load)


def _end(load: Load) -> None:
    load.tell()
    load.close()


def _new_load(place: Place, config: Any = None, *, adopts: bool = False) -> Load:  # noqa: ANN401
    rank, peers = _ranks(config or _current_config())
    return Load(place, rank=rank, peers=peers, adopts=adopts)


def _tell_of(load: Load, planning: Planning | None) -> None:
    """Say in the log which way a load took."""
    if load.refused is not None:
        _log.warning("memory that the agent laid out is not used: %s", load.refused)
    if load.adopted and planning is not None:
        names, size = len(planning.adopted), show_size(load.adopted)
        _log.info("%d parameters look at the agent's memory, %s without a copy", names, size)
    elif planning is not None and planning.reason is not None:
        _log.info("there is no plan for the next replica: %s", planning.reason)


def _feed(
    model: "nn.Module",
    model_config: Any,  # noqa: ANN401
    weights: "Iterator[tuple[str, torch.Tensor]]",
    there: Collection[str],
) -> None:
    """Feed ``model``; ValueError when the checkpoint lacks a parameter that is not ``there``."""
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
    missing = {name for name, _ in model.named_parameters()} - loaded - made - set(there)
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


def _ranks(config: Any) -> tuple[int, int]:  # noqa: ANN401
    """Return this process' rank in the engine, and how many of this host load the same model."""
    parallel = getattr(config, "parallel_config", None)
    if parallel is None:
        return _rank(), distributed.get_tensor_model_parallel_world_size()
    ranks = getattr(parallel, "local_world_size", None) or parallel.world_size
    return _rank(), ranks * max(1, getattr(parallel, "data_parallel_size_local", 1))


def _rank() -> int:
    world = getattr(distributed, "get_world_group", None)
    if world is None:
        return int(distributed.get_tensor_model_parallel_rank())
    return int(world().rank_in_group)


def _drafter_follows(model_config: Any) -> bool:  # noqa: ANN401
    """Return whether this process will load a drafter of the very same checkpoint next."""
    if not is_drafted_from(_current_config(), model_config):
        return False
    return bool(distributed.get_pp_group().is_last_rank)  # the only ones with a drafter


def _current_config() -> Any:  # noqa: ANN401
    """Return vLLM's configuration of this process, None where a version does not show it."""
    get = getattr(vllm_config, "get_current_vllm_config_or_none", None)
    return None if get is None else get()
