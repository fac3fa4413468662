"""A pipeline's tensors for Python: ``open_pipeline`` and what it gives.

    with open_pipeline("voice", server="http://cache:8080") as pipeline:
        state = pipeline["asr"].state_dict()
        for name, tensor in pipeline["llm"].stream(): …

Tensors are views of the arena, in host memory or on the CUDA device that was asked for: no copy,
and they stay valid after the pipeline is closed, for as long as somebody holds one. The memory is
shared by all views of a model, so that writing to one tensor writes to the model. A stream hands
a tensor out as soon as its own chunks are checked, and on their device; it ends only when every
file of the model is confirmed. Where a device cannot be used the arena is in host memory, tensors
are copied to where they were asked for one by one, and the report says why.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from cache_protocol.errors import GenerationGoneError, IntegrityError
from cache_protocol.manifest import File
from cache_protocol.ranges import Span
from cache_protocol.safetensors_header import TensorEntry
from replica_agent.arenas.cuda.memory import DeviceMemory
from replica_agent.arenas.host import HostMemory
from replica_agent.arenas.striped import striped_arena
from replica_agent.client import ControlClient
from replica_agent.contents import Content, content_of
from replica_agent.core.devices import CPU, Placement
from replica_agent.ports import ArenaLostError
from replica_agent.pull import LANES, Pull
from replica_agent.readiness import SUFFIX, Names, Readiness, read_header
from replica_agent.report import to_json
from replica_agent.settings import from_environment
from replica_agent.transfer import ReplacedError, Transfer
from replica_agent.trust import Trust

if TYPE_CHECKING:
    import numpy as np
    import torch


def open_pipeline(  # noqa: PLR0913 - all but the first have defaults
    pipeline: str,
    *,
    server: str | None = None,
    token: str | None = None,
    device: str | Mapping[str, str] = CPU,
    lanes: int = LANES,
    memory_limit: int | None = None,
) -> "Pipeline":
    """Start to pull ``pipeline`` and return it; use it in a ``with`` statement.

    ``server``, ``token`` and ``memory_limit`` (bytes) default to the REPLICA_AGENT_* variables.
    ``device`` is any word that torch takes, for all models or by name: ``cuda:0``, or
    ``{"llm": "cuda:0", "tts": "cuda:1"}`` with the rest on the CPU. On CUDA devices bytes arrive
    in device memory itself, with the package ``cuda-bindings``; ``cuda`` alone is ``cuda:0``.

    Raises:
        MalformedError: ``device`` is not one. Later: there is no such device or model.
    """
    settings = from_environment(os.environ)
    client = ControlClient(
        server or settings.server,
        token or settings.token,
        Trust(settings.ca),
        settings.local_socket,
    )
    limit = settings.memory_limit if memory_limit is None else memory_limit
    memory = DeviceMemory(Placement(device), HostMemory(limit, make=striped_arena), lanes)
    return Pipeline(Pull(client, pipeline, memory.open_arenas, lanes=lanes), memory, device)


class Pipeline:
    """A pipeline that is being pulled, or has been. Safe for threads."""

    def __init__(
        self, pull: Pull, memory: DeviceMemory, device: str | Mapping[str, str] = CPU
    ) -> None:
        """Start ``pull``, which fills ``memory``."""
        self._started = datetime.now(UTC)
        self._pull = pull.start()
        self._memory = memory
        self._placement = Placement(device)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getitem__(self, model: str) -> "LoadedModel":
        if model not in self:
            raise KeyError(f"the pipeline has no model {model!r}; it has {', '.join(self)}")
        return LoadedModel(self._pull, model, self._placement.word(model))

    def __iter__(self) -> Iterator[str]:
        return iter(self._pull.transfer().models)

    def __contains__(self, model: object) -> bool:
        return model in self._pull.transfer().models

    def __len__(self) -> int:
        return len(self._pull.transfer().models)

    def wait(self) -> None:
        """Wait until every file of every model is confirmed; raises what prevents it."""
        self._pull.wait()

    def report(self) -> dict[str, Any]:
        """Return the boot report, as far as phases have ended."""
        boot = self._pull.boot(str(self._placement), self._started)
        return to_json(replace(boot, notes=(*boot.notes, *self._memory.notes)))

    def close(self) -> None:
        """End the pull. Views that somebody holds stay valid."""
        self._pull.close()


class LoadedModel:
    """One model of a pipeline. Every method waits for what it needs."""

    def __init__(self, pull: Pull, name: str, device: str) -> None:
        """Look at model ``name`` of what ``pull`` brings; its tensors are for ``device``."""
        self._pull = pull
        self._name = name
        self._device = device

    def state_dict(self) -> "dict[str, torch.Tensor]":
        """Wait for all verdicts of the model; return its tensors, in the order of their files.

        Raises:
            MalformedError: a header lies, or two files have a tensor of one name.
            GenerationGoneError: the model is on a device that has failed since.
            CacheError: the pull failed.
        """
        with _telling_of_a_loss(self._name):
            return {entry.name: content.tensor(entry) for content, entry in self._entries()}

    def arrays(self) -> "dict[str, np.ndarray[Any, Any]]":
        """Do as ``state_dict``, with read-only numpy arrays on the host.

        They are views, of a model on a device copies; see ``views`` for rare dtypes.
        """
        with _telling_of_a_loss(self._name):
            return {entry.name: content.array(entry) for content, entry in self._entries()}

    def stream(self) -> "Iterator[tuple[str, torch.Tensor]]":
        """Yield ``(name, tensor)`` in the order in which tensors become whole.

        The iterator ends only when every file is confirmed; until then what it gave is checked
        chunk by chunk, but not yet proved to be the file that was promised.

        Raises:
            GenerationGoneError: the node replaced the content, or the device that it was on
                failed, after tensors were handed out.
            IntegrityError: the node pulled a file again after tensors of it were handed out.
            CacheError: as ``state_dict``.
        """
        handed_out = False
        transfer = self._pull.transfer()
        while True:
            try:
                for name, tensor in self._stream(transfer):
                    handed_out = True
                    yield name, tensor
            except ReplacedError as error:
                if handed_out:
                    raise _gone(self._name, error.__cause__) from error
                transfer = self._pull.transfer(after=transfer)
            except ArenaLostError as error:
                raise _gone(self._name, error) from error
            else:
                return

    def files(self) -> tuple[str, ...]:
        """Return the paths of all files, as soon as the manifest is there."""
        return tuple(f.path for f in _files(self._pull.transfer(), self._name))

    def read(self, path: str) -> memoryview:
        """Wait for all verdicts of the model; return the bytes of a file, read-only.

        Raises:
            FileNotFoundError: the model has no such file.
        """
        transfer = self._confirmed()
        for number, file in enumerate(_files(transfer, self._name)):
            if file.path == path:
                with _telling_of_a_loss(self._name):
                    return self._content(transfer, number)[:]
        raise FileNotFoundError(f"{self._name} has no file {path!r}")

    def _entries(self) -> Iterator[tuple[Content, TensorEntry]]:
        transfer = self._confirmed()
        names = Names()
        for number, file in _safetensors(transfer, self._name):
            content = self._content(transfer, number)
            entries = read_header(content)
            names.add(file.path, entries)
            for entry in entries:
                yield content, entry

    def _stream(self, transfer: Transfer) -> "Iterator[tuple[str, torch.Tensor]]":
        # Every arrival from the first one on: a stream may begin when the pull is over.
        names, seen = Names(), 0
        numbers = [n for n, _ in _safetensors(transfer, self._name)]
        contents = {n: self._content(transfer, n) for n in numbers}
        files = {
            n: Readiness(f.path, contents[n], names) for n, f in _safetensors(transfer, self._name)
        }
        while arrivals := transfer.arrivals(self._name, seen):
            seen += len(arrivals)
            for number, span in arrivals:
                if number in files:
                    yield from _whole(transfer, files[number], contents[number], span)
        if transfer.models[self._name].rewritten:
            raise IntegrityError(
                f"a file of {self._name} was pulled again by the node after tensors of it had "
                "been handed out; load again"
            )

    def _confirmed(self) -> Transfer:
        transfer = self._pull.transfer()
        while True:
            try:
                transfer.wait_confirmed(self._name)
            except ReplacedError:
                transfer = self._pull.transfer(after=transfer)
            else:
                return transfer

    def _content(self, transfer: Transfer, file: int) -> Content:
        return content_of(transfer.arenas[self._name], file, self._device)


def _whole(
    transfer: Transfer, file: Readiness, content: Content, span: Span
) -> "Iterator[tuple[str, torch.Tensor]]":
    """Yield what ``span`` makes whole; a device that fails meanwhile ends the transfer."""
    try:
        made = [(entry.name, content.tensor(entry)) for entry in file.arrived(span)]
    except ArenaLostError as error:
        transfer.lose(error)
        transfer.check()
        raise
    yield from made


@contextmanager
def _telling_of_a_loss(model: str) -> Iterator[None]:
    try:
        yield
    except ArenaLostError as error:
        raise _gone(model, error) from error


def _gone(model: str, cause: BaseException | None) -> GenerationGoneError:
    lost = isinstance(cause, ArenaLostError)
    why = f"was lost with its device: {cause}" if lost else "was replaced during the load"
    return GenerationGoneError(f"{model} {why}; load again")


def _files(transfer: Transfer, model: str) -> tuple[File, ...]:
    return transfer.manifest.models[model].files


def _safetensors(transfer: Transfer, model: str) -> Iterator[tuple[int, File]]:
    for number, file in enumerate(_files(transfer, model)):
        if file.path.endswith(SUFFIX):
            yield number, file
