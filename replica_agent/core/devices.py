"""Which model of a pipeline, or which rank of an engine, goes to which device. Pure: words only.

"cuda:0"                                   every model
{"llm": "cuda:0", "tts": "cuda:1"}         by name; those that are not named: the CPU
"cuda:0,2"                                 rank 0 to device 0, rank 1 to device 2
"cuda", "auto"                             rank n to device n
"""

import re
from collections.abc import Collection, Mapping

from cache_protocol.errors import MalformedError
from cache_protocol.names import shown

CPU = "cpu"
_CUDA = re.compile(r"cuda(?::(0|[1-9][0-9]{0,3}))?")
_LIST = re.compile(r"cuda:([0-9]{1,4}(?:,[0-9]{1,4})*)")


def rank_device(word: str, rank: int) -> int:
    """Return the index of the device that ``word`` gives to ``rank``.

    Raises:
        MalformedError: it names devices, and none for that rank.
    """
    named = _LIST.fullmatch(word)
    if named is None:
        return rank
    indices = [int(index) for index in named[1].split(",")]
    if rank >= len(indices):
        raise MalformedError(f"{word} names no device for rank {rank}, only for {len(indices)}")
    return indices[rank]


class Placement:
    """What a caller asked for."""

    def __init__(self, device: str | Mapping[str, str]) -> None:
        """Read ``device``, one for all models or one for each.

        Raises:
            MalformedError: a word like ``cuda:one``. Words of other kinds are torch's to judge.
        """
        self._by_model = None if isinstance(device, str) else dict(device)
        self._for_all = device if isinstance(device, str) else CPU
        for word in (self._for_all, *(self._by_model or {}).values()):
            if word.startswith("cuda") and _CUDA.fullmatch(word) is None:
                raise MalformedError(f"device {shown(word)} is not cuda, cuda:0, cuda:1, …")

    def __str__(self) -> str:
        """Return it as reports have it."""
        if self._by_model is None:
            return self._for_all
        return ",".join(f"{model}={word}" for model, word in self._by_model.items()) or CPU

    def word(self, model: str) -> str:
        """Return what was said about ``model``."""
        return self._for_all if self._by_model is None else self._by_model.get(model, CPU)

    def index(self, model: str) -> int | None:
        """Return the CUDA device of ``model``; None where it is none. ``cuda`` is the first."""
        found = _CUDA.fullmatch(self.word(model))
        return None if found is None else int(found[1] or 0)

    def indices(self, models: Collection[str]) -> list[int]:
        """Return the CUDA devices of ``models``, each once, in order."""
        return sorted({i for i in map(self.index, models) if i is not None})

    def check(self, models: Collection[str]) -> None:
        """Return if every model that was named is one of ``models``, else MalformedError."""
        for model in self._by_model or ():
            if model not in models:
                raise MalformedError(
                    f"the pipeline has no model {shown(model)}; it has {', '.join(models)}"
                )
