"""A package's docstring is its map: who reads it finds every module there."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PROGRAMS = ("cache_protocol", "cache_server", "replica_agent", "demo", "benchmarks")
MAPS = [
    init for program in PROGRAMS for init in sorted((REPOSITORY / program).rglob("__init__.py"))
]


def parts_of(package: Path) -> set[str]:
    """Return the names of the modules and packages that lie in ``package``."""
    modules = {file.stem for file in package.glob("*.py")} - {"__init__"}
    return modules | {init.parent.name for init in package.glob("*/__init__.py")}


@pytest.mark.parametrize("init", MAPS, ids=lambda init: str(init.parent.relative_to(REPOSITORY)))
def test_every_module_of_a_package_is_on_its_map(init):
    words = ast.get_docstring(ast.parse(init.read_text())) or ""
    named = {name.rstrip("/") for name in re.findall(r"``([\w/]+)``", words)}
    assert parts_of(init.parent) <= named, sorted(parts_of(init.parent) - named)
