"""Which Python COMMAND would run in, and which engine is installed there; starts neither.

It is often not ours: an engine has an environment of its own.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from cache_protocol.errors import CacheError
from replica_agent.engines.installed import vllm_version

_PYTHON = re.compile(r"python[0-9.]*")
_LINE = 4096  # bytes; more than any first line of a script has


def program_of(command: Sequence[str]) -> str:
    """Return the path of what COMMAND starts; CacheError where there is no such program."""
    program = shutil.which(command[0])
    if program is None:
        raise CacheError(f"there is no program {command[0]!r} that can be run")
    return program


def interpreter_of(command: Sequence[str]) -> str:
    """Return the Python that COMMAND runs in: itself, or the one that its script names.

    Ours where it does not say. Raises CacheError as ``program_of``, or OSError where it cannot
    be read.
    """
    if not command:
        return sys.executable
    program = program_of(command)
    with Path(program).open("rb") as file:
        first = file.readline(_LINE)
    named = _named(os.fsdecode(first[2:])) if first.startswith(b"#!") else None
    return named or (program if "python" in Path(program).name else sys.executable)


def engine_version(command: Sequence[str]) -> str | None:
    """Return the version of the vLLM that COMMAND would run; None where that cannot be told."""
    try:
        python = Path(interpreter_of(_engine_in(command)))
    except (CacheError, OSError):  # who starts COMMAND says what is wrong with it
        return None
    if python.parent == Path(sys.executable).parent:
        return vllm_version()
    return vllm_version([str(path) for path in _packages_of(python)])


def _named(line: str) -> str | None:
    """Return the Python that the first line of a script names; None where it names none.

    Raises:
        CacheError: ``env`` would not find it.
    """
    words = line.split()
    if not words or PurePath(words[0]).name != "env":
        return words[0] if words and "python" in words[0] else None
    for word in words[1:]:  # options and assignments come before it
        name = word.removeprefix("-S")
        if _PYTHON.fullmatch(PurePath(name).name):
            return program_of([name])
    return None


def _packages_of(python: Path) -> Iterator[Path]:
    """Yield where that Python has its packages."""
    # The name as it is: in an environment it is a link to where nothing is installed.
    prefix = python.parent.parent
    yield from prefix.glob("lib/python3*/site-packages")
    # Of Debian's own Python, where what pip installs is apart. Source: its site.py
    yield from prefix.glob("local/lib/python3*/dist-packages")
    yield from prefix.glob("lib/python3*/dist-packages")


def _engine_in(command: Sequence[str]) -> Sequence[str]:
    """Return COMMAND from its engine on: what stands in ``sh -c "…"``, or behind ``numactl``."""
    for words in (list(command), " ".join(command).split()):
        for number, word in enumerate(words):
            name = PurePath(word).name
            if name == "vllm" or _PYTHON.fullmatch(name):
                return words[number:]
    return command
