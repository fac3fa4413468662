"""Child processes of a benchmark: one that prints a result, one that serves for a while."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.node import REPOSITORY, clean_environment, stop

_LIMIT = 600.0  # seconds


class ChildError(RuntimeError):
    """A child process failed; the text ends in its last words."""


def result_of(module: str, *arguments: object, **env: str) -> Any:
    """Return the JSON that ``python -m module`` prints as its last line.

    Raises:
        ChildError: it failed or took more than ten minutes.
    """
    return result_within(_LIMIT, module, *arguments, **env)


def result_within(seconds: float, module: str, *arguments: object, **env: str) -> Any:
    """Do as ``result_of``; ChildError also when it took more than ``seconds``."""
    return _result([sys.executable, "-m", module, *map(str, arguments)], seconds, env)


def result_of_command(command: list[str], **env: str) -> Any:
    """Return the JSON that ``command`` prints as its last line; raises as ``result_of``."""
    return _result(command, _LIMIT, env)


def _result(command: list[str], seconds: float, env: dict[str, str]) -> Any:
    try:
        done = subprocess.run(
            command,
            env=clean_environment(**env),
            cwd=REPOSITORY,
            capture_output=True,
            timeout=seconds,
            check=True,
        )
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        words = (error.stderr or error.stdout).decode(errors="replace")[-2000:]
        raise ChildError(f"{' '.join(command[:4])} … failed: {words}") from error
    except (subprocess.TimeoutExpired, IndexError) as error:
        raise ChildError(f"{' '.join(command[:4])} … gave no result: {error}") from error


@contextmanager
def serving(module: str, *arguments: object, **env: str) -> Iterator[str]:
    """Run ``python -m module`` for the length of the block; yield its first line of output.

    Raises:
        ChildError: it ended without a word.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    process = subprocess.Popen(
        command, env=clean_environment(**env), cwd=REPOSITORY, stdout=subprocess.PIPE
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode().strip()
            if not line:
                code = process.wait()
                raise ChildError(f"{module} ended with {code} before it said where it listens")
            yield line
        finally:
            stop(process)
