"""A tenant that registered a source while it was listed, and has it filled when it is no more."""

import pytest

from tests.fakes.service import VOICE
from tests.fakes.tenancy import node_of_tenants, tenant


@pytest.fixture
def listed(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/config.json").write_text("{}")
    return {"default": tenant("default", f"file://{tmp_path}/models")}


def test_nothing_more_is_pulled(listed, tmp_path):
    with node_of_tenants(tmp_path, listed) as node:
        node.put(node.token("default"), "voice", f"file://{tmp_path}/models")
        node.bench.resolved()
        listed.clear()
        error = node.bench.warm(VOICE)
        assert error.code == "origin-denied"
        assert "CACHE_SERVER_TENANTS" in str(error)


def test_after_a_restart_neither(listed, tmp_path):
    with node_of_tenants(tmp_path, listed) as node:
        node.put(node.token("default"), "voice", f"file://{tmp_path}/models")
    listed.clear()
    with node_of_tenants(tmp_path, listed) as node:
        assert node.bench.warm(VOICE).code == "origin-denied"


def test_what_an_admin_registered_goes_on(listed, tmp_path):
    with node_of_tenants(tmp_path, listed) as node:
        node.put(None, "voice", f"file://{tmp_path}/models")
        listed.clear()
        assert node.bench.warm(VOICE) is None
