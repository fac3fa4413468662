"""What COMMAND says about the engine, and COMMAND with the models' directories in it.

Pure: reads words, starts nothing. An engine is known by its words alone; one that is not known
gets files, which every engine can read.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from cache_protocol.errors import MalformedError

LOAD_FORMAT = "warmline"
_FORMAT, _EXTRA = "--load-format", "--model-loader-extra-config"
ONLY = "model"  # how a pipeline's only model may be called in COMMAND
_INSIDE = re.compile(rf"(?<!\S){_FORMAT}[= ]{LOAD_FORMAT}(?!\S)")
_PLACE = re.compile(r"\{([A-Za-z0-9][A-Za-z0-9._-]{0,99})\}")


class Server(NamedTuple):
    """Where an engine that is known by its words listens unless it is told otherwise."""

    words: tuple[str, ...]  # that follow each other in COMMAND
    port: int
    health: str  # path


# Source: the engines' own documentation of their defaults.
_SERVERS = (
    Server(("vllm", "serve"), 8000, "/health"),
    Server(("vllm.entrypoints.openai.api_server",), 8000, "/health"),
    Server(("sglang.launch_server",), 30000, "/health"),
    Server(("trtllm-serve",), 8000, "/health"),
    Server(("llama-server",), 8080, "/health"),
)


def takes_handover(command: Sequence[str]) -> bool:
    """Return whether COMMAND asks for our load format, which takes weights from memory."""
    return _option(_flat(command), _FORMAT) == LOAD_FORMAT


def health_url(command: Sequence[str]) -> str | None:
    """Return where the engine says that it is ready; None for one that is not known."""
    command = _flat(command)
    names = [PurePath(word).name for word in command]
    for server in _SERVERS:
        if _has_run(names, server.words):
            host = _option(command, "--host") or "127.0.0.1"
            port = _option(command, "--port") or str(server.port)
            return f"http://{_reachable(host)}:{port}{server.health}"
    return None


def fill_in(command: Sequence[str], directories: Mapping[str, Path]) -> list[str]:
    """Return COMMAND with every ``{NAME}`` replaced by the directory of the model NAME.

    Raises:
        MalformedError: ``{model}`` where there are several models and none is called so.
    """
    known = dict(directories)
    if len(known) == 1:
        known.setdefault(ONLY, next(iter(known.values())))
    if ONLY not in known and any(f"{{{ONLY}}}" in word for word in command):
        names = ", ".join(f"{{{name}}}" for name in known)
        raise MalformedError(f"the pipeline has {len(known)} models: write {names} in COMMAND")

    # Braces around anything else are the engine's own: JSON, templates.
    def place(match: re.Match[str]) -> str:
        return str(known.get(match[1], match[0]))

    return [_PLACE.sub(place, word) for word in command]


def without_handover(command: Sequence[str]) -> list[str]:
    """Return COMMAND with the engine's own loader in the place of ours."""
    words, plain = list(command), []
    while words:
        word = words.pop(0)
        name, joined, value = word.partition("=")
        if name == _EXTRA:  # speaks to our loader alone
            if not joined:
                del words[:1]
        elif name == _FORMAT and ([value] if joined else words[:1]) == [LOAD_FORMAT]:
            plain += [_FORMAT, "auto"]
            if not joined:
                del words[:1]
        else:
            plain.append(_INSIDE.sub(rf"{_FORMAT} auto", word))
    return plain


def _flat(command: Sequence[str]) -> list[str]:
    """Return COMMAND with the words inside its words, for what stands in ``sh -c "…"``."""
    return " ".join(command).split()


def _option(command: Sequence[str], name: str) -> str | None:
    """Return the last value of an option, written with a blank or with ``=``."""
    value = None
    for number, word in enumerate(command):
        if word == name and number + 1 < len(command):
            value = command[number + 1]
        elif word.startswith(f"{name}="):
            value = word.partition("=")[2]
    return value


def _has_run(words: Sequence[str], run: tuple[str, ...]) -> bool:
    starts = range(len(words) - len(run) + 1)
    return any(tuple(words[n : n + len(run)]) == run for n in starts)


def _reachable(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - "everywhere" is reached through loopback
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
