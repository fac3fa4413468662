"""A process beside a test that says a line of JSON at a time, and goes on when it hears one."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@contextmanager
def speaking_process(module, *words):
    """Run ``python -m module`` with ``words``; yield its process."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *map(str, words)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def says(process):
    """Return what it says next."""
    return json.loads(process.stdout.readline())


def go(process):
    """Let it go on."""
    process.stdin.write("\n")
    process.stdin.flush()


def say(words):
    """In that process: say ``words``."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()
