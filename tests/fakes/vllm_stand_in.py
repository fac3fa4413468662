"""What vLLM's loader interface is to a plug-in, as little of it as a loader sees.

    vllm = StandIn(monkeypatch)      # ``import vllm`` finds it from now on
    loader = vllm.loader("warmline", extra={})

Its models copy what they are fed into parameters, or drain the iterator first as some of vLLM's
do. Made after vLLM 0.32; ``old`` leaves away what 0.10 does not have.
"""

import dataclasses
import logging
import sys
from types import ModuleType, SimpleNamespace

import safetensors.torch
import torch

OURS = ("replica_agent.engines.vllm_loader", "replica_agent.engines.vllm_adoption")


@dataclasses.dataclass
class LoadConfig:
    load_format: str = "auto"
    model_loader_extra_config: dict = dataclasses.field(default_factory=dict)
    download_dir: str | None = None


@dataclasses.dataclass
class ModelConfig:
    model: str
    revision: str | None = None
    dtype: torch.dtype = torch.bfloat16
    quantization: str | None = None


class BaseModelLoader:
    def __init__(self, load_config):
        self.load_config = load_config

    def get_external_weight_memory(self, vllm_config):
        return 0

    def load_model(self, vllm_config, model_config, prefix=""):
        with torch.device(vllm_config.device_config.device):
            model = vllm_config.build()
            self.load_weights(model, model_config)
            vllm_config.process(model)
        return model.eval()


class DefaultModelLoader(BaseModelLoader):
    """Reads the safetensors files of a directory, and says so in ``read``."""

    read: list = []  # noqa: RUF012 - one list for all of them is the point

    def __init__(self, load_config):
        if load_config.model_loader_extra_config or load_config.load_format != "auto":
            raise ValueError("not a configuration of the default loader")
        super().__init__(load_config)

    def get_all_weights(self, model_config, model):
        self.read.append((model_config.model, model_config.revision))
        from pathlib import Path  # noqa: PLC0415

        for path in sorted(Path(model_config.model).glob("*.safetensors")):
            yield from safetensors.torch.load_file(path).items()

    def load_weights(self, model, model_config):
        model.load_weights(self.get_all_weights(model_config, model))


class Model(torch.nn.Module):
    """One parameter per tensor of a checkpoint."""

    def __init__(self, weights, *, drains=False):
        super().__init__()
        self.drains = drains
        self.fed = []
        self.names = {name.replace(".", "_"): name for name in weights}
        for name, tensor in weights.items():
            blank = torch.full_like(tensor, 7, device="cpu")
            self.register_parameter(
                name.replace(".", "_"), torch.nn.Parameter(blank, requires_grad=False)
            )

    def load_weights(self, weights):
        loaded = set()
        for name, tensor in list(weights) if self.drains else weights:
            self.fed.append(name)
            self.get_parameter(name.replace(".", "_")).copy_(tensor)
            loaded.add(name.replace(".", "_"))
        return loaded

    @property
    def weights(self):
        return {self.names[n]: p for n, p in self.named_parameters()}


class StandIn:
    def __init__(self, monkeypatch, *, old=False):
        self.formats = {"auto": DefaultModelLoader}
        self.registered = []
        self.current = None  # what ``get_current_vllm_config_or_none`` returns
        self.rank, self.ranks = 0, 1
        DefaultModelLoader.read.clear()
        for name in OURS:
            monkeypatch.delitem(sys.modules, name, raising=False)
        for module in self._modules(old=old):
            monkeypatch.setitem(sys.modules, module.__name__, module)

    def register(self):
        from replica_agent.engines.vllm import register  # noqa: PLC0415

        register()

    def loader(self, load_format="warmline", extra=None):
        self.register()
        return self.formats[load_format](LoadConfig(load_format, extra or {}))

    def configured(self, model_config, drafter=None, *, ranks=1, replicas=1):
        """Make ``model_config`` what this process runs, with a drafter if one is given."""
        speculative = None if drafter is None else SimpleNamespace(draft_model_config=drafter)
        self.current = SimpleNamespace(
            model_config=model_config,
            speculative_config=speculative,
            parallel_config=SimpleNamespace(
                world_size=ranks, local_world_size=ranks, data_parallel_size_local=replicas
            ),
        )

    def made(self, model_config, build, **more):
        """Return a configuration for ``load_model``, whose model is what ``build`` returns."""
        ranks = {"tensor_parallel_size": self.ranks, "world_size": self.ranks}
        parallel = SimpleNamespace(**ranks, pipeline_parallel_size=1, enable_expert_parallel=False)
        device = SimpleNamespace(device=torch.device("cpu"), device_type="cpu")
        fields = {"model_config": model_config, "build": build, "parallel_config": parallel}
        fields["process"] = lambda model: None  # what is done to weights after they are loaded
        return SimpleNamespace(**fields | {"device_config": device} | more)

    def _register(self, load_format):
        def keep(loader):
            self.formats[load_format] = loader
            self.registered.append(load_format)
            return loader

        return keep

    def _modules(self, *, old):
        config = {} if old else {"get_current_vllm_config_or_none": lambda: self.current}
        loaders = module(
            "vllm.model_executor.model_loader",
            register_model_loader=self._register,
            _LOAD_FORMAT_TO_MODEL_LOADER=self.formats,
        )
        parts = {
            "config": module("vllm.config", **config),
            "distributed": module(
                "vllm.distributed",
                get_tensor_model_parallel_rank=lambda: self.rank,
                get_tensor_model_parallel_world_size=lambda: self.ranks,
                get_world_group=lambda: SimpleNamespace(rank_in_group=self.rank),
                get_pp_group=lambda: SimpleNamespace(is_last_rank=True),
            ),
            "logger": module("vllm.logger", init_logger=logging.getLogger),
            "model_executor": module("vllm.model_executor", model_loader=loaders),
        }
        yield module("vllm", __path__=[], **parts)
        yield from parts.values()
        yield loaders
        base, default = f"{loaders.__name__}.base_loader", f"{loaders.__name__}.default_loader"
        yield module(base, BaseModelLoader=BaseModelLoader)
        yield module(default, DefaultModelLoader=DefaultModelLoader)


def module(name, **names):
    made = ModuleType(name)
    vars(made).update(names)
    return made
