"""A host with a GPU may have torch and pytest, and none of the libraries of the server."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
# What such a host has, and whatever these need in turn; everything else cannot be imported.
BARE = """
import re, sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions

def called(text):
    return re.split(r"[^\\w.-]", text)[0].lower().replace("_", "-")

there, asked = set(), ["torch", "safetensors", "cuda-bindings", "cupy", "numpy", "pytest",
                       "pytest-timeout", "hypothesis", "xxhash", "rich"]
while asked:
    name = asked.pop()
    if name not in there:
        there.add(name)
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        asked += [called(need) for need in needs if "extra ==" not in need]
gone = {top for top, names in packages_distributions().items()
        if not there & {called(name) for name in names}}

class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in gone:
            raise ModuleNotFoundError(f"No module named {name!r} on such a host", name=name)

sys.meta_path.insert(0, Bare())
assert {"fastapi", "boto3", "sqlalchemy", "pytest_randomly", "xdist"} <= gone
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def collected_on_a_bare_host(*arguments):
    plugins = ["-p", "pytest_timeout", "-p", "_hypothesis_pytestplugin", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-c", BARE, *plugins, "--collect-only", "-q", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=REPOSITORY,
    )


def test_what_needs_a_gpu_is_collected_where_only_torch_and_pytest_are():
    done = collected_on_a_bare_host("-m", "gpu")
    assert done.returncode == 0, done.stdout + done.stderr
    for file in ("test_arena", "test_on_a_gpu", "test_registration", "test_device_shard"):
        assert f"{file}.py::" in done.stdout


def test_without_the_marker_such_a_host_cannot_import_the_suite():
    done = collected_on_a_bare_host("tests/unit/cache_server/http")
    assert done.returncode != 0
    assert "on such a host" in done.stdout + done.stderr
