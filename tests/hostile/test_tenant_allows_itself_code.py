"""A tenant that may not have pickles or code says in its own registration that it may."""

import pytest

from cache_server.core.tenants import ANYWHERE, Tenant
from tests.fakes.control_plane import control_plane
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, running_service

FILES = {"config.json": b"{}", "model.onnx": b"w", "model.bin": b"harm", "x.py": b"harm"}


@pytest.fixture
def origin():
    return MemoryOrigin(FILES)


@pytest.fixture
def bench(tmp_path, origin):
    with running_service(tmp_path / "root", MemoryOrigins({SOURCE: origin})) as bench:
        yield bench


@pytest.fixture
def plane(bench):
    with control_plane(bench.service, tenants=lambda name: Tenant(name, ANYWHERE)) as plane:
        yield plane


@pytest.mark.parametrize("switch", ["allow_pickle", "allow_code"])
def test_it_is_refused_and_nothing_is_registered(plane, bench, switch):
    token = plane.ask("POST", "/v1/tokens", {"role": "deployer"}).json["token"]
    body = {"models": [{"name": "m", "source": SOURCE, switch: True}]}
    answer = plane.ask("PUT", "/v1/pipelines/voice", body, token=token)
    assert (answer.status, answer.json["code"]) == (403, "forbidden")
    assert f"tenant default may not say {switch}" in answer.json["detail"]
    assert plane.ask("GET", "/v1/pipelines/voice", token=token).status == 404


def test_an_admin_may_say_it_for_the_tenant(plane, bench):
    models = [{"name": "m", "source": SOURCE, "allow_pickle": True}]
    assert plane.ask("PUT", "/v1/pipelines/voice", {"models": models}).status == 201
    assert bench.warm() is None
    assert [f.origin.path for f in bench.open().files] == ["config.json", "model.bin", "model.onnx"]
