import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cache_protocol.errors import OriginUnavailableError
from cache_protocol.formats import Hazard
from replica_agent.engines import detour
from replica_agent.engines.detour import Location, locate
from replica_agent.handover.place import Origin


@pytest.mark.parametrize(
    ("source", "revision", "expected"),
    [
        ("hf://org/name", None, Location("org/name")),
        ("hf://org/name@v1", None, Location("org/name", "v1")),
        ("hf://org/name@v1", "commit", Location("org/name", "commit")),
        ("file:///srv/model", None, Location("/srv/model")),
    ],
)
def test_what_the_engine_can_load_itself_is_only_named(tmp_path, source, revision, expected):
    assert locate(Origin(source, revision), tmp_path) == expected
    assert list(tmp_path.iterdir()) == []


class Bucket:
    """Stands for the download, whose real one has its own tests against a real S3."""

    def __init__(self, monkeypatch):
        self.brought = 0
        self.together = threading.Semaphore(1)
        self.failures = 0
        monkeypatch.setattr(detour, "bring", self.bring)

    def bring(self, wanted, to, room):
        assert self.together.acquire(blocking=False), "two downloads at once"
        try:
            if self.failures:
                self.failures -= 1
                raise OriginUnavailableError("the bucket is down")
            self.brought += 1
            self.allow = wanted.allow
            (room / "model.safetensors").write_text(wanted.source)
            (to / "model.safetensors").symlink_to(room / "model.safetensors")
        finally:
            self.together.release()


@pytest.fixture
def bucket(monkeypatch):
    return Bucket(monkeypatch)


def test_all_ranks_of_a_host_download_a_bucket_once(bucket, tmp_path):
    with ThreadPoolExecutor(4) as ranks:
        found = set(ranks.map(lambda _: locate(Origin("s3://b/p"), tmp_path), range(4)))
    assert found == {Location(str(tmp_path))}
    assert bucket.brought == 1


def test_a_download_that_failed_is_tried_again_by_the_next_rank(bucket, tmp_path):
    bucket.failures = 1
    with pytest.raises(OriginUnavailableError):
        locate(Origin("s3://b/p"), tmp_path)
    assert locate(Origin("s3://b/p"), tmp_path) == Location(str(tmp_path))


def test_what_was_downloaded_goes_with_the_models_directory(bucket, tmp_path):
    locate(Origin("s3://b/p"), tmp_path)
    assert Path(tmp_path / "model.safetensors").resolve().is_relative_to(tmp_path)


def test_a_download_takes_what_the_pipelines_owner_allowed(bucket, tmp_path):
    locate(Origin("s3://b/p", allow=(Hazard.PICKLE,)), tmp_path)
    assert bucket.allow == (Hazard.PICKLE,)
