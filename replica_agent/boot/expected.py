"""Which plans hold for the engine that COMMAND is about to start.

Pure: reads words. An engine says the same of itself once it runs (``engines.vllm_plan``), and
checks what it is given, so that a wrong answer here costs time and nothing else. What the words
leave open, the plans that are there decide, if they agree.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cache_protocol.plans import Key
from replica_agent.boot.command import takes_handover
from replica_agent.plans.layout import VLLM, Layout

# Source: vllm/engine/arg_utils.py, add_cli_args; its parser takes _ for - in long names.
_SHORT = {
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-ep": "--enable-expert-parallel",
    "-q": "--quantization",
    "-n": "--nnodes",
    "-dp": "--data-parallel-size",
    "-pcp": "--prefill-context-parallel-size",
}
_EXPERTS, _NO = "--enable-expert-parallel", "--no-"
# Options with the values under which ranks are on this host, and share the model as usual.
_PLAIN = {
    "--config": frozenset[str](),
    "--nnodes": frozenset({"1"}),
    "--data-parallel-size": frozenset({"1"}),
    "--prefill-context-parallel-size": frozenset({"1"}),
    "--distributed-executor-backend": frozenset({"mp", "uni"}),
    "--enable-eplb": frozenset[str](),
    "--enable-elastic-ep": frozenset[str](),
}
# And with those under which an engine could look at memory that is not its own. Source: as above,
# and engines.vllm_adoption, which asks the engine's configuration the same.
_STAYING = {
    "--enable-sleep-mode": frozenset[str](),
    "--cpu-offload-gb": frozenset({"0", "0.0"}),
    "--offload-group-size": frozenset({"0"}),
}
# A drafter that is made of the model's own files. All others have their own, or are no models.
_SPECULATION = re.compile(r"(?:^|\s)(--spec[a-z_-]*|-sc)(?=[\s=.])")
_OF_THE_MODEL = re.compile(r"mtp\b|\bdspark\b|\bextract_hidden_states\b")
_PLACE = re.compile(r"\{[A-Za-z0-9][A-Za-z0-9._-]*\}")  # of a model, see ``command``
_OPTION = re.compile(r"\s--?[A-Za-z]")
_DTYPES = {"half": "float16", "float": "float32"}  # other names of the same


class UntoldError(Exception):
    """COMMAND does not tell what plans there could be, or no plans are there; the text says why."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known of an engine before it exists."""

    engine: str
    version: str
    device: str  # kind: "cpu", "cuda"
    layout: str
    ranks: int
    dtype: str | None  # None: whatever the model has
    quantisation: str | None

    def accepts(self, key: Key) -> bool:
        """Return whether a plan for ``key`` may be one for this engine."""
        same = (key.engine, key.version, key.device, key.layout, key.ranks)
        return (
            same == (self.engine, self.version, self.device, self.layout, self.ranks)
            and self.dtype in (None, key.dtype)
            and self.quantisation in (None, key.quantisation)
        )


def expected(command: Sequence[str], version: str | None, device: str) -> Expected:
    """Return what COMMAND says.

    Args:
        command: the words of COMMAND.
        version: of the vLLM that it starts; None where there is none.
        device: kind of device that its parameters will be on.

    Raises:
        UntoldError: too little, or the engine is none that plans are made for.
    """
    if version is None or not takes_handover(command):
        raise UntoldError("COMMAND starts no engine that plans are known for")
    told = _told(command)
    for name, plain in _PLAIN.items():
        if name in told and told[name] not in plain:
            raise UntoldError(f"COMMAND says {name}: it does not tell what each rank reads")
    _check_staying(told, " ".join(command))
    layout = Layout(
        _count(told, "--tensor-parallel-size"),
        _count(told, "--pipeline-parallel-size"),
        _EXPERTS in told,
    )
    dtype = told.get("--dtype", "auto")
    return Expected(
        engine=VLLM,
        version=version,
        device=device,
        layout=layout.words,
        ranks=layout.ranks,
        dtype=None if dtype == "auto" else _DTYPES.get(dtype, dtype),
        quantisation=told.get("--quantization"),
    )


def choose(keys: Iterable[Key], checkpoint: str, wanted: Expected) -> list[Key]:
    """Return those of ``keys`` that are for ``checkpoint`` and ``wanted``, by rank.

    Raises:
        UntoldError: a rank has none, or there are several that could be meant.
    """
    by_kind: dict[tuple[str, str], dict[int, Key]] = {}
    for key in keys:
        if key.checkpoint == checkpoint and wanted.accepts(key):
            by_kind.setdefault((key.dtype, key.quantisation), {})[key.rank] = key
    whole = [ranks for ranks in by_kind.values() if len(ranks) == wanted.ranks]
    if not whole:
        most = max(map(len, by_kind.values()), default=0)
        raise UntoldError(f"there are plans for {most} of {wanted.ranks} ranks ({wanted.layout})")
    if len(whole) > 1:
        raise UntoldError(f"there are plans for {len(whole)} types of weights: say --dtype")
    return [whole[0][rank] for rank in range(wanted.ranks)]


def _check_staying(told: Mapping[str, str], text: str) -> None:
    """Raise UntoldError for an engine that could not use what was laid out for it."""
    for name, staying in _STAYING.items():
        if name in told and told[name] not in staying:
            raise UntoldError(f"COMMAND says {name}: weights do not stay where they are loaded")
    for option in _SPECULATION.finditer(text):
        said = _OPTION.split(text[option.end() :], maxsplit=1)[0]
        same = any(text.count(place) > said.count(place) for place in set(_PLACE.findall(said)))
        if same or _OF_THE_MODEL.search(said):
            raise UntoldError(f"COMMAND says {option[1]}: a drafter reads the same files")


def _told(command: Sequence[str]) -> Mapping[str, str]:
    """Return the options of COMMAND, long, with the last value that each is given."""
    told: dict[str, str] = {}
    words = " ".join(command).split()  # also what stands in ``sh -c "…"``
    for word, following in zip(words, [*words[1:], "-"], strict=True):
        if not word.startswith("-"):
            continue
        name, joined, value = word.partition("=")
        name = _SHORT.get(name, name.replace("_", "-"))
        if name.startswith(_NO):
            told.pop(f"--{name.removeprefix(_NO)}", None)
        told[name] = value if joined else "" if following.startswith("-") else following
    return told


def _count(told: Mapping[str, str], name: str) -> int:
    value = told.get(name, "1")
    if not (value.isascii() and value.isdecimal() and len(value) < 5 and int(value)):
        raise UntoldError(f"COMMAND says {name} {value}, which is no count")
    return int(value)
