import os

import pytest

from cache_protocol.errors import CacheError
from replica_agent.boot.home import Home


@pytest.fixture
def base(tmp_path):
    return tmp_path / "base"


def test_a_home_is_ours_alone_and_goes_with_its_base(base):
    home = Home(base, "voice")
    assert (home.path, home.canonical) == (base / "voice", True)
    assert base.stat().st_mode & 0o777 == home.path.stat().st_mode & 0o777 == 0o700
    (home.path / "asr").mkdir()
    home.close()
    assert not base.exists()


def test_a_home_in_use_gives_way_to_another_name(base):
    first = Home(base, "voice")
    second = Home(base, "voice")
    assert (second.path.name, second.canonical) == ("voice.2", False)
    first.close()
    third = Home(base, "voice")
    assert third.canonical
    second.close()
    third.close()


def test_what_nobody_holds_is_removed(base):
    (base / "old" / "llm").mkdir(parents=True)
    (base / "voice").mkdir()
    (base / "voice" / "rest").write_text("")
    base.chmod(0o700)
    home = Home(base, "voice")
    assert os.listdir(base) == ["voice"]
    assert not os.listdir(home.path)
    home.close()


def test_a_base_that_others_can_enter_is_refused(base):
    base.mkdir()
    base.chmod(0o755)  # whatever the umask
    with pytest.raises(CacheError, match="ours alone"):
        Home(base, "voice")


def test_a_base_that_is_a_link_is_refused(base, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    base.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheError, match="ours alone"):
        Home(base, "voice")


def test_links_in_a_home_are_removed_and_not_followed(base, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    base.mkdir(mode=0o700)
    (base / "voice").mkdir()
    (base / "voice" / "llm").symlink_to(precious)
    Home(base, "voice").close()
    assert (precious / "file").read_text() == "x"
