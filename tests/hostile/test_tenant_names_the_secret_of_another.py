"""A tenant that names a secret of another one, to use it, or to learn that it is there."""

import pytest

from cache_server.origins.settings import OriginSettings
from tests.fakes.tenancy import node_of_tenants, tenant


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("secrets")
    for name in ("mine", "theirs"):
        (tmp_path / "secrets" / name).mkdir(parents=True)
        (tmp_path / "secrets" / name / "token").write_text(f"hf_{name}")
    listed = {
        "a": tenant("a", "hf://*", secrets=frozenset({"mine"})),
        "b": tenant("b", "hf://*", secrets=frozenset({"theirs"})),
    }
    settings = OriginSettings(secrets_dir=tmp_path / "secrets", hf_endpoint="http://127.0.0.1:1")
    with node_of_tenants(tmp_path, listed, settings) as node:
        yield node


def test_it_is_refused_as_one_that_is_not_there_would_be(node):
    text = node.token("a")
    told = []
    for name in ("theirs", "absent"):
        answer = node.put(text, "voice", "hf://org/name", credentials=name)
        assert (answer.status, answer.json["code"]) == (403, "forbidden")
        told.append(answer.json["detail"].replace(name, "NAME"))
    assert told[0] == told[1]


@pytest.mark.parametrize("name", ["../theirs", "..", "mine/../theirs", "THEIRS", ""])
def test_a_name_that_is_a_path_is_no_name(node, name):
    answer = node.put(node.token("a"), "voice", "hf://org/name", credentials=name)
    assert answer.status == 422


def test_its_own_is_taken(node):
    assert node.put(node.token("a"), "voice", "hf://org/name", credentials="mine").status == 201
