import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cache_protocol.errors import OriginUnavailableError, UnsafeContentError
from cache_protocol.formats import Hazard
from replica_agent.engines import detour
from replica_agent.engines.detour import fetch
from replica_agent.handover.place import Origin
from replica_agent.origin import Wanted

BUCKET = Origin("s3://b/p")


@pytest.fixture
def source(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text("origin's")
    (source / "model.safetensors").write_text("weights")
    (source / "model.bin").write_text("harm")
    return source


@pytest.fixture
def directory(tmp_path):
    """A model's directory with its small files."""
    directory = tmp_path / "llm"
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    return directory


def test_the_weights_of_a_directory_are_linked_and_pickles_are_not(source, directory):
    fetch(Origin(f"file://{source}"), directory)
    assert (directory / "model.safetensors").readlink() == source / "model.safetensors"
    assert not (directory / "model.bin").exists()


def test_the_files_of_a_manifest_are_brought_and_no_others(source, directory):
    fetch(Origin(f"file://{source}", files=("model.bin",)), directory)
    assert {p.name for p in directory.iterdir()} == {"config.json", "model.bin", ".origin"}


def test_what_is_not_safe_is_refused(source, directory):
    (source / "model.safetensors").unlink()
    (source / "config.json").unlink()
    with pytest.raises(UnsafeContentError):
        fetch(Origin(f"file://{source}"), directory)


class Bucket:
    """Stands for the download, whose real one has its own tests against a real S3."""

    def __init__(self, monkeypatch):
        self.wanted = []
        self.together = threading.Semaphore(1)
        self.failures = 0
        monkeypatch.setattr(detour, "bring", self.bring)

    def bring(self, wanted, to, room):
        assert self.together.acquire(blocking=False), "two downloads at once"
        try:
            if self.failures:
                self.failures -= 1
                raise OriginUnavailableError("the bucket is down")
            self.wanted.append(wanted)
            (room / "model.safetensors").write_text(wanted.source)
            (to / "model.safetensors").symlink_to(room / "model.safetensors")
        finally:
            self.together.release()


@pytest.fixture
def bucket(monkeypatch):
    return Bucket(monkeypatch)


def test_all_ranks_of_a_host_download_a_bucket_once(bucket, tmp_path):
    with ThreadPoolExecutor(4) as ranks:
        list(ranks.map(lambda _: fetch(BUCKET, tmp_path), range(4)))
    assert len(bucket.wanted) == 1


def test_a_download_that_failed_is_tried_again_by_the_next_rank(bucket, tmp_path):
    bucket.failures = 1
    with pytest.raises(OriginUnavailableError):
        fetch(BUCKET, tmp_path)
    fetch(BUCKET, tmp_path)
    assert len(bucket.wanted) == 1


def test_what_was_downloaded_goes_with_the_models_directory(bucket, tmp_path):
    fetch(BUCKET, tmp_path)
    assert Path(tmp_path / "model.safetensors").resolve().is_relative_to(tmp_path)


def test_a_download_takes_what_was_asked_for_and_allowed(bucket, tmp_path):
    fetch(Origin("hf://org/name@v1", "c0ffee", ("a.bin",), (Hazard.PICKLE,)), tmp_path)
    assert bucket.wanted == [Wanted("hf://org/name@v1", "c0ffee", ("a.bin",), (Hazard.PICKLE,))]
