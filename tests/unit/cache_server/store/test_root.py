import os
import stat
import subprocess
import sys
from contextlib import closing

import pytest

from cache_protocol.errors import BusyError, DiskError, MalformedError
from cache_server.store.root import Root


@pytest.fixture
def root(tmp_path):
    root = Root(tmp_path / "root")
    yield root
    root.close()


def test_two_nodes_on_one_root_are_refused_and_the_holder_is_named(root):
    with pytest.raises(BusyError, match=rf"another running node \(process {os.getpid()}\)"):
        Root(root.path)


def test_another_process_is_refused_too(root):
    code = (
        "from pathlib import Path; from cache_server.store.root import Root; "
        f"Root(Path({str(root.path)!r}))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "belongs to another running node" in other.stderr


def test_a_file_is_no_root(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MalformedError, match="file is no directory"):
        Root(tmp_path / "file")


def test_a_root_that_was_given_back_can_be_taken_again(tmp_path):
    Root(tmp_path).close()
    Root(tmp_path).close()


def test_a_directory_that_everybody_can_write_to_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(DiskError, match="writable by everybody"):
        Root(tmp_path)


def test_a_directory_of_somebody_else_is_refused(tmp_path, monkeypatch):
    if os.getuid() == 0:
        os.chown(tmp_path, 4321, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    owner = tmp_path.stat().st_uid
    with pytest.raises(DiskError, match=rf"belongs to user {owner}, .* runs as 12345: chown it"):
        Root(tmp_path)


def test_a_directory_that_a_group_can_write_to_is_taken_with_a_warning(tmp_path, caplog):
    tmp_path.chmod(0o775)
    Root(tmp_path).close()
    assert "writable by its group" in caplog.text


@pytest.mark.parametrize("name", ["admin-token", "identity-key", "catalogue.db-wal", "slots"])
def test_what_somebody_opened_to_others_is_closed_again_with_a_warning(tmp_path, caplog, name):
    root = Root(tmp_path)
    root.admin_token(), root.identity_key(), (tmp_path / "catalogue.db-wal").touch()
    root.close()
    before = stat.S_IMODE((tmp_path / name).stat().st_mode)
    (tmp_path / name).chmod(before | 0o044)
    Root(tmp_path).close()
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == before & 0o700
    assert f"{tmp_path / name} was open to others" in caplog.text


def test_secrets_are_made_once_and_kept(root):
    assert root.admin_token() == root.admin_token()
    assert root.identity_key() == root.identity_key()
    assert (root.path / "admin-token").stat().st_mode & 0o777 == 0o600


def test_the_trash_is_emptied_of_whatever_lies_there(root):
    (root.trash / "generation" / "files").mkdir(parents=True)
    (root.trash / "stray").write_text("a file")
    root.empty_trash()
    assert list(root.trash.iterdir()) == []


def test_a_stray_file_among_the_slots_is_no_slot(root):
    (root.slots / "default" / "voice").mkdir(parents=True)
    (root.slots / "stray").write_text("a file")
    (root.slots / "default" / "stray").write_text("a file")
    assert list(root.slot_names()) == [("default", "voice")]


def test_the_trash_is_there_before_a_full_disk_needs_it(root):
    assert root.trash.is_dir()


def test_a_discarded_directory_leaves_nothing(root):
    (root.slots / "t" / "p").mkdir(parents=True)
    root.discard(root.slots / "t" / "p")
    assert not (root.slots / "t" / "p").exists()
    assert list(root.trash.iterdir()) == []


def test_a_directory_in_which_anybody_can_exchange_root_is_warned_of(tmp_path, caplog):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    Root(tmp_path / "open/root").close()
    assert f"{tmp_path}/open, above this node's ROOT, is writable by everybody" in caplog.text


def test_where_only_the_owner_can_exchange_it_there_is_no_warning(tmp_path, caplog):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    Root(tmp_path / "open/root").close()
    assert "open, above" not in caplog.text


@pytest.mark.parametrize("name", ["lock", "admin-token.new"])
def test_a_link_in_root_does_not_have_the_node_write_elsewhere(tmp_path, name):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "root").mkdir(0o700)
    (tmp_path / "root" / name).symlink_to("../mine")
    with pytest.raises(DiskError), closing(Root(tmp_path / "root")) as root:
        root.admin_token()
    assert (tmp_path / "mine").read_text() == "mine"
