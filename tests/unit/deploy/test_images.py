"""The two Dockerfiles, read: many mistakes need no build to be seen."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "deploy/docker").glob("Dockerfile.*"))


def steps(file: Path) -> list[str]:
    """Return the instructions of ``file``, one line each."""
    text = re.sub(r"^#.*\n", "", file.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip()]


@pytest.fixture(params=FILES, ids=lambda file: file.name)
def image(request) -> list[str]:
    return steps(request.param)


def last_stage(image: list[str]) -> list[str]:
    start = max(n for n, step in enumerate(image) if step.startswith("FROM "))
    return image[start:]


def test_there_is_one_for_the_server_and_one_for_the_agent():
    assert [file.suffix for file in FILES] == [".agent", ".server"]


def test_what_builds_is_not_in_the_image(image):
    assert sum(step.startswith("FROM ") for step in image) == 2
    assert not any("pip install" in step for step in last_stage(image))


def test_nobody_runs_as_root(image):
    users = [step.split()[1] for step in last_stage(image) if step.startswith("USER ")]
    assert users == ["10001"]


def test_an_image_brings_its_health_check(image):
    assert sum(step.startswith("HEALTHCHECK ") for step in last_stage(image)) == 1


def test_all_packages_of_the_project_are_built(image):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        assert f"COPY {package} {package}" in image


def test_what_is_copied_is_sent_to_the_builder(image):
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for step in image:
        if step.startswith("COPY ") and "--from" not in step:
            for source in step.split()[1:-1]:
                assert f"!{source}" in ignored
