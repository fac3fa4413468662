"""What the tests of the server share."""

import pytest

from cache_server.core import backoff
from tests.fakes.small_disk import mounted_small_disk


@pytest.fixture
def quick_retries(monkeypatch):
    """Wait a millisecond where a node would wait a quarter of a second."""
    monkeypatch.setattr(backoff, "FIRST", 0.001)
    monkeypatch.setattr(backoff, "LONGEST", 0.001)


@pytest.fixture
def small_disk(tmp_path):
    with mounted_small_disk(tmp_path / "small-disk") as disk:
        yield disk
