import logging
import os
import re
from pathlib import Path

import pytest

from cache_protocol.errors import ForbiddenError, MalformedError
from cache_server.core.content import ModelSpec
from cache_server.core.tenants import Quotas
from cache_server.tenants_file import TenantsFile, read_tenants

WHOLE = """
tenants:
  default:
    origins: ["hf://*", "s3://weights/team-a/*", "file:///srv/models"]
    secrets: [hf-team-a]
    allow_pickle: true
    quotas: {bytes: 2TiB, pipelines: 200, fills: 4, connections: 256}
  team-b:
    origins: [hf://team-b/*]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tenants.yaml"


def replace(path: Path, text: str) -> None:
    """Put another file in place of this one, as an orderly operator does."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def allows(tenants: TenantsFile, tenant: str, source: str) -> bool:
    try:
        tenants.of(tenant).check(ModelSpec("m", source))
    except ForbiddenError:
        return False
    return True


def test_a_file_says_what_each_tenant_may_do(path):
    path.write_text(WHOLE)
    tenant = read_tenants(path).of("default")
    assert [str(place) for place in tenant.origins] == [
        "hf://*",
        "s3://weights/team-a",
        "file:///srv/models",
    ]
    assert tenant.secrets == {"hf-team-a"}
    assert tenant.quotas == Quotas(2 * 2**40, 200, 4, 256)
    assert (tenant.allow_pickle, tenant.allow_code) == (True, False)


def test_the_file_that_the_contract_shows_is_one(path):
    contract = (Path(__file__).parents[3] / "docs/contract.md").read_text()
    block = re.search(r"```yaml\n(tenants:.*?)```", contract, re.DOTALL)
    path.write_text(block[1])
    assert read_tenants(path).of("default").quotas.bytes == 2 * 2**40


def test_what_a_file_does_not_say_is_not_allowed_and_not_limited(path):
    path.write_text(WHOLE)
    tenant = read_tenants(path).of("team-b")
    assert (tenant.secrets, tenant.quotas) == (frozenset(), Quotas())
    assert (tenant.allow_pickle, tenant.allow_code, tenant.on_demand) == (False, False, False)


def test_repositories_may_come_by_themselves_where_the_file_says_so(path):
    path.write_text("tenants: {a: {on_demand: true}, b: {}}")
    tenants = read_tenants(path)
    assert (tenants.of("a").on_demand, tenants.of("b").on_demand) == (True, False)
    path.write_text("tenants: {a: {on_demand: 'yes'}}")
    with pytest.raises(MalformedError, match="on_demand"):
        read_tenants(path)


def test_the_nodes_credentials_are_the_default_tenants_unless_the_file_says_otherwise(path):
    path.write_text(WHOLE)
    tenants = read_tenants(path)
    assert tenants.of("default").node_credentials
    assert not tenants.of("team-b").node_credentials
    path.write_text("tenants: {default: {node_credentials: false}, b: {node_credentials: true}}")
    tenants = read_tenants(path)
    assert not tenants.of("default").node_credentials
    assert tenants.of("b").node_credentials


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "valid dictionary"),
        ("tenants: {Team A: {}}", "pipeline id"),
        ("tenants: {a: {origins: [ftp://x]}}", "origins.0: .*is not a place"),
        ("tenants: {a: {orgins: []}}", "orgins"),
        ("tenants: {a: {secrets: [../etc]}}", "secrets.0"),
        ("tenants: {a: {quotas: {bytes: many}}}", "quotas.bytes.*not a size"),
        ("tenants: {a: {quotas: {fills: -1}}}", "quotas.fills"),
        ("tenants: {a: {quotas: {fills: yes}}}", "quotas.fills"),
        ("tenants: {a: {allow_code: 'false'}}", "allow_code"),
        ("tenants: {a: {}, a: {}}", "line 1: 'a' is there twice"),
        ("tenants: [", "not YAML"),
        ("tenants: " + "[" * 5000, "not YAML"),
        ("tenants: !!python/object/apply:os.getcwd []", "not YAML"),
    ],
)
def test_a_wrong_file_is_refused_and_the_place_is_named(path, text, told):
    path.write_text(text)
    with pytest.raises(MalformedError, match=told) as refusal:
        read_tenants(path)
    assert str(path) in str(refusal.value)


def test_a_file_that_is_missing_at_the_start_is_refused(path):
    with pytest.raises(MalformedError, match="No such file"):
        TenantsFile(path)


def test_without_a_file_tenants_may_use_public_repositories():
    tenants = TenantsFile(None)
    assert allows(tenants, "team-b", "hf://org/name")
    assert not allows(tenants, "team-b", "s3://bucket/x")


def test_a_file_that_changed_counts_from_the_next_look_on(path):
    path.write_text(WHOLE)
    tenants = TenantsFile(path)
    replace(path, "tenants: {team-b: {origins: [s3://bucket]}}")
    assert not allows(tenants, "team-b", "s3://bucket/x")
    tenants.look()
    assert allows(tenants, "team-b", "s3://bucket/x")
    assert not allows(tenants, "default", "hf://org/name")


def test_a_mount_that_is_exchanged_under_its_link_is_seen(tmp_path):
    # As Kubernetes does it: tenants.yaml -> ..data/tenants.yaml, ..data -> a directory of its own.
    for name, text in (("one", WHOLE), ("two", "tenants: {team-b: {origins: [s3://bucket]}}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tenants.yaml").write_text(text)
    (tmp_path / "..data").symlink_to("one")
    path = tmp_path / "tenants.yaml"
    path.symlink_to("..data/tenants.yaml")
    tenants = TenantsFile(path)
    (tmp_path / "..new").symlink_to("two")
    os.replace(tmp_path / "..new", tmp_path / "..data")
    tenants.look()
    assert allows(tenants, "team-b", "s3://bucket/x")


@pytest.mark.parametrize("broken", ["tenants: [", "tenants: {a: {origins: [nonsense]}}", None])
def test_a_broken_file_leaves_the_last_good_one_in_force_and_is_told_once(path, broken, caplog):
    path.write_text(WHOLE)
    tenants = TenantsFile(path)
    if broken is None:
        path.unlink()
    else:
        replace(path, broken)
    for _ in range(3):
        tenants.look()
        assert allows(tenants, "team-b", "hf://team-b/x")
        assert not allows(tenants, "team-b", "s3://bucket/x")
    told = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(told) == 1
    assert "stay as they were" in told[0].getMessage()


def test_a_file_that_was_mended_counts_again(path):
    path.write_text(WHOLE)
    tenants = TenantsFile(path)
    for text in ("tenants: [", "tenants: {team-b: {origins: [s3://bucket]}}"):
        replace(path, text)
        tenants.look()
    assert allows(tenants, "team-b", "s3://bucket/x")
