import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cache_protocol.digests import CHUNK_SIZE, chunk_digest
from cache_protocol.errors import (
    CapacityError,
    DiskError,
    GenerationGoneError,
    OriginUnavailableError,
)
from cache_server.core.content import Content, ModelContent, OriginFile
from cache_server.store import generation as module
from cache_server.store.generation import Generation
from cache_server.store.stored_file import StoredFile
from tests.fakes.service import chunks
from tests.fakes.small_disk import SMALL_DISK

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DATA = chunks(2.5)


def content(*files: OriginFile) -> Content:
    listed = files or (OriginFile("w.safetensors", len(DATA), "tag"),)
    return Content("default", "voice", (ModelContent("m", "file:///m", "r", None, listed),))


def laid_out(slot: Path, *files: OriginFile) -> Generation:
    generation = Generation.create(slot, content(*files), NOW)
    generation.allocate()
    return generation


def bring(file: StoredFile, *numbers: int) -> None:
    """Do what a fill does for some chunks of DATA."""
    fd = os.open(file.path, os.O_WRONLY)
    try:
        for chunk in numbers:
            piece = DATA[chunk * CHUNK_SIZE : (chunk + 1) * CHUNK_SIZE]
            file.write(chunk * CHUNK_SIZE, memoryview(piece), fd)
            file.record(chunk, chunk_digest(piece))
    finally:
        os.close(fd)


def published(slot: Path) -> Generation:
    generation = laid_out(slot)
    bring(generation.files[0], 0, 1, 2)
    generation.files[0].confirm(b"s" * 32)
    generation.publish()
    return generation


def present(generation: Generation) -> list[int]:
    return [c for c in range(3) if generation.files[0].map.has(c)]


def test_files_have_their_full_size_before_the_first_byte(tmp_path):
    file = laid_out(tmp_path).files[0]
    assert file.path.stat().st_size == len(DATA)
    assert file.path.stat().st_blocks * 512 >= len(DATA)
    assert not file.map.has(0)


def test_a_published_generation_is_published_in_the_next_process(tmp_path):
    before = published(tmp_path)
    after = Generation.load(before.directory)
    assert after.published
    assert after.files[0].sha256 == b"s" * 32
    assert present(after) == [0, 1, 2]


def test_a_half_filled_generation_keeps_its_chunks_and_is_not_published(tmp_path):
    before = laid_out(tmp_path)
    bring(before.files[0], 0, 2)
    after = Generation.load(before.directory)
    assert (after.published, after.begun, present(after)) == (False, True, [0, 2])


def test_a_generation_with_an_unconfirmed_file_is_never_published(tmp_path):
    generation = laid_out(tmp_path)
    bring(generation.files[0], 0, 1, 2)
    with pytest.raises(AssertionError):
        generation.publish()


def test_a_file_that_was_cut_short_behind_our_back_is_no_longer_published(tmp_path):
    before = published(tmp_path)
    os.truncate(before.files[0].path, CHUNK_SIZE + 10)
    after = Generation.load(before.directory)
    assert (after.published, present(after)) == (False, [0])
    assert after.files[0].sha256 is None


def test_a_file_that_is_missing_behind_our_back_has_no_chunks(tmp_path):
    before = published(tmp_path)
    before.files[0].path.unlink()
    after = Generation.load(before.directory)
    assert (after.published, present(after)) == (False, [])


def test_what_was_cut_off_does_not_come_back_as_zeros_after_the_next_crash(tmp_path):
    before = published(tmp_path)
    os.truncate(before.files[0].path, CHUNK_SIZE)
    Generation.load(before.directory).allocate()  # full size again, and then the process dies
    assert present(Generation.load(before.directory)) == [0]


def test_a_file_that_vanishes_while_the_node_runs_is_empty_at_the_next_layout(tmp_path):
    generation = laid_out(tmp_path)
    bring(generation.files[0], 0, 1)
    generation.files[0].path.unlink()
    generation.allocate()
    assert present(generation) == []


def test_after_a_boot_of_the_machine_chunks_count_if_their_bytes_are_right(tmp_path, monkeypatch):
    before = laid_out(tmp_path)
    bring(before.files[0], 0, 1)
    flip(before.files[0].path, CHUNK_SIZE + 5)
    monkeypatch.setattr(module, "_this_boot", lambda: "another boot")
    after = Generation.load(before.directory)
    after.allocate()
    assert present(after) == [0]
    assert present(Generation.load(before.directory)) == [0]


def test_within_one_boot_chunks_count_without_being_read(tmp_path):
    before = laid_out(tmp_path)
    bring(before.files[0], 0)
    flip(before.files[0].path, 5)
    after = Generation.load(before.directory)
    after.allocate()
    assert present(after) == [0]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_the_content_of_another_generation_is_refused(tmp_path):
    made = Generation.create(tmp_path, content(), NOW)
    other = made.directory.rename(tmp_path / ("0" * 32))
    with pytest.raises(DiskError, match="holds the content of"):
        Generation.load(other)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"content": {}}', '{"content": 1}'])
def test_a_record_that_is_no_record_is_refused(tmp_path, text):
    made = Generation.create(tmp_path, content(), NOW)
    (made.directory / "content.json").write_text(text)
    with pytest.raises(DiskError, match="not a generation"):
        Generation.load(made.directory)


@pytest.mark.parametrize("fields", [{}, {"files": []}, {"files": [{"sha256": "xy"}]}, []])
def test_a_publication_that_does_not_fit_its_content_is_refused(tmp_path, fields):
    made = published(tmp_path)
    (made.directory / "generation.json").write_text(json.dumps(fields))
    with pytest.raises(DiskError, match="not a generation"):
        Generation.load(made.directory)


def test_a_layout_that_does_not_fit_is_a_matter_of_capacity(small_disk):
    with pytest.raises(CapacityError, match="bytes are left"):
        laid_out(small_disk / "slot", OriginFile("w", SMALL_DISK + 1, "tag"))


def test_leaving_takes_it_out_of_its_slot_and_keeps_open_descriptors_readable(tmp_path):
    generation = published(tmp_path / "slot")
    fd = generation.files[0].open()
    try:
        generation.leave(tmp_path / "trash")
        assert os.pread(fd, 10, 0) == DATA[:10]
    finally:
        os.close(fd)
    assert not generation.directory.exists()


def test_after_leaving_nobody_can_open_or_wait(tmp_path):
    generation = laid_out(tmp_path / "slot")
    generation.leave(tmp_path / "trash")
    with pytest.raises(GenerationGoneError):
        generation.files[0].open()
    with pytest.raises(GenerationGoneError):
        generation.files[0].present_until(0, 10)


def test_only_a_confirmed_file_is_lent(tmp_path):
    generation = laid_out(tmp_path)
    bring(generation.files[0], 0, 1, 2)
    assert generation.files[0].lend() is None
    assert not generation.files[0].lent


def test_what_is_lent_can_be_read_and_not_be_written(tmp_path):
    fd = published(tmp_path).files[0].lend()
    assert fd is not None
    try:
        assert os.pread(fd, len(DATA), 0) == DATA
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(fd, b"x", 0)
    finally:
        os.close(fd)


def test_what_was_lent_ends_with_its_generation_and_its_room_is_free(tmp_path):
    generation = published(tmp_path)
    fd = generation.files[0].lend()
    assert fd is not None
    try:
        generation.end_loans(generation.leave(tmp_path / "trash"))
        assert generation.files[0].ended
        assert os.pread(fd, 1, 0) == b""
        assert os.fstat(fd).st_blocks == 0
    finally:
        os.close(fd)


def test_what_was_not_lent_stays_readable_for_who_has_it_open(tmp_path):
    generation = published(tmp_path)
    fd = generation.files[0].open()
    try:
        generation.end_loans(generation.leave(tmp_path / "trash"))
        assert os.pread(fd, len(DATA), 0) == DATA
        assert not generation.files[0].ended
    finally:
        os.close(fd)


def test_after_leaving_nothing_is_lent(tmp_path):
    generation = published(tmp_path)
    generation.leave(tmp_path / "trash")
    with pytest.raises(GenerationGoneError):
        generation.files[0].lend()


def test_a_failed_fill_tells_its_reason_to_whoever_waits(tmp_path):
    generation = laid_out(tmp_path)
    generation.fail(OriginUnavailableError("no answer"))
    for wait in (
        lambda f: f.present_until(0, 10),
        lambda f: f.digests(range(1), 10),
        lambda f: f.verdict(10),
    ):
        with pytest.raises(OriginUnavailableError, match="no answer"):
            wait(generation.files[0])


def test_a_chunk_that_is_there_is_served_although_the_fill_failed(tmp_path):
    generation = laid_out(tmp_path)
    bring(generation.files[0], 0)
    generation.fail(OriginUnavailableError("no answer"))
    assert generation.files[0].present_until(5, 10) == CHUNK_SIZE


def test_a_waiting_reader_gives_up_in_time(tmp_path):
    with pytest.raises(TimeoutError):
        laid_out(tmp_path).files[0].present_until(0, 0.01)


def test_a_waiting_reader_says_what_it_waits_for(tmp_path):
    generation = laid_out(tmp_path)
    wanted: list[tuple[int, int]] = []
    generation.progress.want = lambda file, chunk: wanted.append((file, chunk))
    with pytest.raises(TimeoutError):
        generation.files[0].present_until(CHUNK_SIZE + 3, 0.01)
    assert wanted == [(0, 1)]


def test_dropped_chunks_are_missing_in_the_next_process_too(tmp_path):
    generation = laid_out(tmp_path)
    bring(generation.files[0], 0, 1)
    generation.files[0].drop(range(1, 2))
    assert present(generation) == present(Generation.load(generation.directory)) == [0]


def test_files_are_found_by_model_and_path(tmp_path):
    generation = laid_out(tmp_path)
    assert generation.file("m", "w.safetensors") is generation.files[0]
    with pytest.raises(FileNotFoundError):
        generation.file("m", "other")


def test_a_weights_file_that_became_a_link_is_not_followed(tmp_path):
    generation = published(tmp_path)
    (tmp_path / "secret").write_bytes(b"secret")
    generation.files[0].path.unlink()
    generation.files[0].path.symlink_to(tmp_path / "secret")
    with pytest.raises(DiskError):
        generation.files[0].open()


def test_what_could_not_leave_can_still_be_read(tmp_path):
    generation = published(tmp_path / "slot")
    (tmp_path / "trash").write_text("a file where the trash should be")
    with pytest.raises(DiskError):
        generation.leave(tmp_path / "trash")
    os.close(generation.files[0].open())


def test_what_has_left_is_deleted_although_nobody_knows_whether_a_crash_brings_it_back(
    tmp_path, monkeypatch
):
    generation = published(tmp_path / "slot")

    def fails(directory: Path) -> None:
        raise OSError(5, "Input/output error", str(directory))

    monkeypatch.setattr(module, "sync_directory", fails)
    place = generation.leave(tmp_path / "trash")
    assert place.is_dir()
    assert not generation.directory.exists()
    assert generation.progress.gone
