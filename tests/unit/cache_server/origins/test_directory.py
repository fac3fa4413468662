import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from cache_protocol.errors import (
    MalformedError,
    OriginChangedError,
    OriginDeniedError,
    OriginNotFoundError,
    OriginUnavailableError,
)
from cache_protocol.ranges import Span
from cache_server.origins.directory import DirectoryOrigin, _translated


def anywhere(directory: str) -> None:
    pass


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    (root / "sub").mkdir(parents=True)
    (root / "sub/weights.dat").write_bytes(b"0123456789")
    (tmp_path / "secret").write_bytes(b"not yours!")
    return root


def paths(root: Path) -> list[str]:
    return [f.path for f in DirectoryOrigin(str(root), anywhere).resolve().files]


def refused(root: Path, name: str) -> None:
    with pytest.raises(MalformedError, match=name):
        DirectoryOrigin(str(root), anywhere).resolve()


def test_a_link_to_a_file_inside_is_followed(root: Path):
    (root / "link.dat").symlink_to("sub/weights.dat")
    assert paths(root) == ["link.dat", "sub/weights.dat"]


def test_a_link_to_a_directory_inside_is_followed(root: Path):
    (root / "again").symlink_to("sub")
    assert paths(root) == ["again/weights.dat", "sub/weights.dat"]


def test_the_directory_itself_may_be_a_link(root: Path, tmp_path: Path):
    (tmp_path / "current").symlink_to("model")
    assert paths(tmp_path / "current") == ["sub/weights.dat"]


@pytest.mark.parametrize("target", ["../secret", "/etc/hostname", "..", "sub/../../secret"])
def test_a_link_that_leads_out_is_refused_by_name(root: Path, target: str):
    (root / "out.dat").symlink_to(target)
    refused(root, "out.dat")


def test_a_link_to_a_sibling_with_the_same_beginning_is_refused(root: Path, tmp_path: Path):
    (tmp_path / "model-2").write_bytes(b"other")
    (root / "out.dat").symlink_to("../model-2")
    refused(root, "out.dat")


def test_a_snapshot_of_the_hub_cache_is_refused(tmp_path: Path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/abc").write_bytes(b"1")
    (tmp_path / "snapshots/main").mkdir(parents=True)
    (tmp_path / "snapshots/main/model.dat").symlink_to("../../blobs/abc")
    refused(tmp_path / "snapshots/main", "model.dat")


@pytest.mark.parametrize("target", ["nowhere", "loop.dat"])
def test_a_link_to_nothing_is_refused(root: Path, target: str):
    (root / "loop.dat").symlink_to(target)
    refused(root, "loop.dat")


def test_a_link_to_the_directory_that_holds_it_is_refused(root: Path):
    (root / "sub/up").symlink_to("..")
    refused(root, "sub/up")


def test_a_fifo_is_refused_without_waiting_for_a_writer(root: Path):
    os.mkfifo(root / "pipe")
    refused(root, "pipe")


def test_a_socket_is_refused(root: Path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "door"))
        refused(root, "door")


def test_a_file_exchanged_for_a_link_after_the_listing_is_not_opened(root: Path, tmp_path: Path):
    origin = DirectoryOrigin(str(root), anywhere)
    listing = origin.resolve()
    (root / "sub/weights.dat").unlink()
    (root / "sub/weights.dat").symlink_to(tmp_path / "secret")
    with (
        pytest.raises(MalformedError, match="inside its directory"),
        origin.open(listing.revision, listing.files[0], Span(0, 1)),
    ):
        pytest.fail("it opened")


def test_a_file_exchanged_for_a_fifo_after_the_listing_does_not_block(root: Path):
    origin = DirectoryOrigin(str(root), anywhere)
    listing = origin.resolve()
    (root / "sub/weights.dat").unlink()
    os.mkfifo(root / "sub/weights.dat")
    with (
        pytest.raises(MalformedError),
        origin.open(listing.revision, listing.files[0], Span(0, 1)),
    ):
        pytest.fail("it opened")


def test_a_parent_exchanged_for_a_link_after_the_listing_is_not_followed(
    root: Path, tmp_path: Path
):
    origin = DirectoryOrigin(str(root), anywhere)
    listing = origin.resolve()
    (root / "sub").rename(tmp_path / "elsewhere")
    (root / "sub").symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(MalformedError),
        origin.open(listing.revision, listing.files[0], Span(0, 1)),
    ):
        pytest.fail("it opened")


def test_an_unsafe_name_is_not_opened(root: Path):
    origin = DirectoryOrigin(str(root), anywhere)
    listing = origin.resolve()
    bad = replace(listing.files[0], path="../secret")
    with pytest.raises(MalformedError), origin.open(listing.revision, bad, Span(0, 1)):
        pytest.fail("it opened")


def test_a_file_written_in_place_while_it_is_read_breaks_the_stream(root: Path):
    origin = DirectoryOrigin(str(root), anywhere)
    listing = origin.resolve()
    buffer = memoryview(bytearray(4))
    with origin.open(listing.revision, listing.files[0], Span(0, 10)) as stream:
        assert stream.readinto(buffer) == 4
        (root / "sub/weights.dat").write_bytes(b"abcde")
        with pytest.raises(OriginUnavailableError, match="changed"):
            stream.readinto(buffer)
    with (
        pytest.raises(OriginChangedError),
        origin.open(listing.revision, listing.files[0], Span(4, 10)),
    ):
        pytest.fail("it opened")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileNotFoundError(2, "no such file"), OriginNotFoundError),
        (NotADirectoryError(20, "not a directory"), OriginNotFoundError),
        (PermissionError(13, "denied"), OriginDeniedError),
        (OSError(5, "Input/output error"), OriginUnavailableError),
    ],
)
def test_errors_of_the_file_system_have_their_names(error: OSError, kind: type):
    assert type(_translated(error, "it")) is kind
