"""A pipeline whose weights are the node's own files: its keys, its database, other tenants' slots.

A directory is a legitimate source, so that whoever may name any could have the node serve its
own ROOT, by its name, by the name of one above it, or through a link.
"""

import pytest

from cache_server.catalogue.registry import Key
from tests.fakes.tenancy import node_of_tenants


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with node_of_tenants(tmp_path_factory.mktemp("own"), {}) as node:
        (node.directory / "link").symlink_to("root")
        yield node


@pytest.mark.parametrize("where", ["root", "root/slots", "root/slots/default/x", "", "root/."])
def test_even_an_admin_cannot_name_it(node, where):
    answer = node.put(None, "voice", f"file://{node.directory}/{where}")
    assert (answer.status, answer.json["code"]) == (422, "malformed")
    assert node.plane.ask("GET", "/v1/pipelines/voice").status == 404


@pytest.mark.parametrize("name", ["{directory}/link", "/proc/self/root{directory}/root", "/"])
def test_no_other_name_leads_there(node, name):
    answer = node.put(None, "voice", f"file://{name.format(directory=node.directory)}")
    assert answer.status == 422


def test_a_directory_that_becomes_a_link_to_it_later_is_not_read(node):
    models, key = node.directory / "models", Key("default", "swapped")
    models.mkdir()
    (models / "config.json").write_text("{}")
    assert node.put(None, "swapped", f"file://{models}").status == 201
    node.bench.resolved(key)
    models.rename(models.with_name("was"))
    models.symlink_to("root")
    assert "belongs to the node itself" in str(node.bench.warm(key, refresh=True))
