"""Links inside a listed directory that make a few directories into names without end."""

from pathlib import Path

import pytest

from cache_protocol.errors import MalformedError
from cache_protocol.names import MAX_PATH
from cache_server.origins import question
from cache_server.origins.directory import DirectoryOrigin

DOUBLINGS = 40  # each level has two links to the next: 2**40 names of one file


def listing(directory: Path):
    return DirectoryOrigin(str(directory), lambda _real: None).resolve()


def test_links_that_double_the_names_at_every_level_are_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(question, "MAX_LISTED", 2000)  # the real bound takes seconds
    for level in range(DOUBLINGS):
        directory = tmp_path / f"d{level}"
        directory.mkdir()
        for link in ("a", "b"):
            (directory / link).symlink_to(f"../d{level + 1}")
    (tmp_path / f"d{DOUBLINGS}").mkdir()
    with pytest.raises(MalformedError, match="lists more than 2000 files"):
        listing(tmp_path)


def test_two_directories_that_lead_to_each_other_are_refused(tmp_path: Path):
    for one, other in (("ping", "pong"), ("pong", "ping")):
        (tmp_path / one).mkdir()
        (tmp_path / one / "next").symlink_to(f"../{other}")
    with pytest.raises(MalformedError, match="too deep"):
        listing(tmp_path)


def test_directories_deeper_than_any_name_are_refused(tmp_path: Path):
    (tmp_path / "/".join(["deeper"] * (MAX_PATH // len("deeper/") + 2))).mkdir(parents=True)
    with pytest.raises(MalformedError, match="too deep"):
        listing(tmp_path)
