"""A file system of its own that is soon full: never the disk that everybody else works on."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SMALL_DISK = 40 * 2**20  # bytes


@contextmanager
def mounted_small_disk(at: Path) -> Iterator[Path]:
    """Mount a tmpfs of SMALL_DISK bytes on ``at``; unmounted at the end.

    Where mounting is not permitted the test is skipped; where CI is set it fails.
    """
    at.mkdir()
    options = f"size={SMALL_DISK},mode=700"
    command = ["mount", "-t", "tmpfs", "-o", options, "warmline-test", str(at)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)
