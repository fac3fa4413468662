import pytest

from cache_protocol.errors import OriginNotFoundError, UnsafeContentError
from cache_protocol.formats import Hazard
from replica_agent.origin import Wanted, bring

FILES = {"config.json": b"{}", "a/m.safetensors": b"w", "a/m.bin": b"p", "modeling.py": b"c"}
PICKLES = {"config.json": b"{}", "m.bin": b"ppp"}


@pytest.fixture
def brought(tmp_path):
    """Bring from a directory; return what appears."""

    def brought(there=FILES, **wanted):
        source, to = tmp_path / "source", tmp_path / "to"
        to.mkdir()
        for path, data in there.items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes(data)
        bring(Wanted(f"file://{source}", **wanted), to, tmp_path / "room")
        return {str(p.relative_to(to)) for p in to.rglob("*") if p.is_file()}

    return brought


def test_of_a_whole_directory_pickles_and_code_stay_where_they_are(brought):
    assert brought() == {"config.json", "a/m.safetensors"}


@pytest.mark.parametrize(("allow", "more"), [("pickle", "a/m.bin"), ("code", "modeling.py")])
def test_what_is_allowed_is_brought(brought, allow, more):
    assert brought(allow=(Hazard(allow),)) == {"config.json", "a/m.safetensors", more}


def test_files_that_are_asked_for_by_name_are_brought(brought):
    assert brought(files=("a/m.bin",)) == {"a/m.bin"}


def test_a_file_that_is_gone_is_named(brought):
    with pytest.raises(OriginNotFoundError, match=r"'gone\.json'"):
        brought(files=("config.json", "gone.json"))


def test_a_directory_of_nothing_but_pickles_names_the_switch(brought):
    with pytest.raises(UnsafeContentError, match=r"'m\.bin'.* say --allow-pickle"):
        brought(PICKLES)


def test_a_file_that_would_pass_for_the_agents_own_stays_where_it_is(brought):
    assert brought(FILES | {".warmline.json": b"{}"}) == {"config.json", "a/m.safetensors"}
