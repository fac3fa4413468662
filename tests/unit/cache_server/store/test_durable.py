import errno
import json

import pytest

from cache_protocol.errors import CapacityError, DiskError
from cache_server.store.durable import disk_errors, write_bytes, write_json


def test_what_was_written_is_there_and_nothing_else_is_left(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_secret_can_be_read_by_its_owner_alone(tmp_path):
    write_bytes(tmp_path / "key", b"k")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_a_new_content_replaces_the_old_one(tmp_path):
    write_bytes(tmp_path / "a", b"a longer old content")
    write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_matter_of_capacity(tmp_path, number):
    with pytest.raises(CapacityError, match="bytes are left"), disk_errors(tmp_path / "a"):
        raise OSError(number, "full")


def test_a_full_disk_is_told_even_where_the_directory_is_missing_too(tmp_path):
    with pytest.raises(CapacityError), disk_errors(tmp_path / "no" / "such" / "file"):
        raise OSError(errno.ENOSPC, "full")


def test_any_other_failure_is_one_of_the_disk(tmp_path):
    with pytest.raises(DiskError, match="No such file"):
        write_bytes(tmp_path / "missing" / "a", b"")
