"""A tenant that leaves its listed directory: by links in it, or by how it writes a path."""

import pytest

from cache_server.catalogue.registry import Key
from tests.fakes.tenancy import node_of_tenants, tenant


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    directory = tmp_path_factory.mktemp("listed")
    for place in ("srv/models/llm", "srv/models/swapped", "srv/others"):
        (directory / place).mkdir(parents=True)
        (directory / place / "config.json").write_text("{}")
    listed = {"default": tenant("default", f"file://{directory}/srv/models")}
    with node_of_tenants(directory, listed) as node:
        yield node


def put(node, pipeline, place):
    return node.put(node.token("default"), pipeline, f"file://{node.directory}/{place}")


def test_what_is_listed_is_served(node):
    assert put(node, "listed", "srv/models/llm").status == 201
    assert node.bench.warm(Key("default", "listed")) is None


@pytest.mark.parametrize("place", ["srv/others", "srv", "srv/models-of-others"])
def test_neighbours_are_refused(node, place):
    answer = put(node, "voice", place)
    assert (answer.status, answer.json["code"]) == (403, "forbidden")


def test_dots_are_no_path(node):
    assert put(node, "voice", "srv/models/../others").status == 422


@pytest.mark.parametrize("target", ["../others", "..", "/"])
def test_a_link_does_not_lead_out(node, target):
    link = node.directory / "srv/models/link"
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    assert put(node, "voice", "srv/models/link").status in (403, 422)  # 422: "/" holds our ROOT


def test_a_directory_that_becomes_a_link_later_is_not_followed(node):
    swapped, key = node.directory / "srv/models/swapped", Key("default", "swapped")
    assert put(node, "swapped", "srv/models/swapped").status == 201
    node.bench.resolved(key)
    swapped.rename(swapped.with_name("was"))
    swapped.symlink_to("../others")
    assert node.bench.warm(key, refresh=True).code == "origin-denied"
