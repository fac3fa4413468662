import stat
from pathlib import Path

import pytest

from cache_protocol.errors import MalformedError
from cache_protocol.formats import Hazard
from replica_agent.handover.place import NAME, Origin, Place, read_place, write_place

PLACE = Place(Path("/run/s"), "llm", "voice", "g", "origin", Origin("hf://org/name", "abc"))


PICKLES = Origin("s3://b/p", "c0ffee", ("a.bin",), (Hazard.PICKLE,))


@pytest.mark.parametrize(
    "place",
    [PLACE, Place(Path("/run/s"), "llm"), Place(Path("/run/s"), "llm", origin=PICKLES)],
)
def test_a_place_comes_back(tmp_path, place):
    write_place(tmp_path, place)
    assert read_place(tmp_path) == place


def test_only_its_owner_can_read_it(tmp_path):
    write_place(tmp_path, PLACE)
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_a_place_that_is_there_is_replaced(tmp_path):
    write_place(tmp_path, Place(Path("/old"), "llm"))
    write_place(tmp_path, PLACE)
    assert read_place(tmp_path) == PLACE
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("name", ["", "absent", "org/name"])
def test_what_is_no_directory_of_ours_names_no_place(tmp_path, name):
    assert read_place(tmp_path / name) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"socket": 1, "model": "llm"}',
        '{"socket": "/s", "model": "m", "origin": {}}',
        '{"socket": "/s", "model": "m", "origin": {"source": "s3://b/p", "allow": ["all"]}}',
        '{"socket": "/s", "model": "m", "origin": {"source": "s3://b/p", "allow": "pickle"}}',
        '{"socket": "/s", "model": "m", "origin": {"source": "s3://b/p", "files": ["../x"]}}',
        '{"socket": "/s", "model": "m", "origin": {"source": "s3://b/p", "files": "x"}}',
    ],
)
def test_a_place_in_another_form_is_refused(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(MalformedError, match="form"):
        read_place(tmp_path)


def test_an_unknown_fallback_is_the_strict_one(tmp_path):
    (tmp_path / NAME).write_text('{"socket": "/s", "model": "m", "fallback": "whatever"}')
    assert read_place(tmp_path).fallback == "fail"
