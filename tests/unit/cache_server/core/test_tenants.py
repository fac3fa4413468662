from dataclasses import replace

import pytest

from cache_protocol.errors import ForbiddenError, MalformedError
from cache_server.core.content import ModelSpec
from cache_server.core.sources import parse_source
from cache_server.core.tenants import ANYWHERE, Quotas, Tenant, Tenants, parse_place


def covers(place: str, source: str) -> bool:
    return parse_place(place).covers(parse_source(source))


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("hf://*", "hf://org/name@main"),
        ("hf://*", "hf://gpt2"),
        ("hf://org/*", "hf://org/name"),
        ("hf://org/llama-*", "hf://org/llama-7b"),
        ("hf://org/name", "hf://org/name@v1"),
        ("s3://*", "s3://weights/team-a"),
        ("s3://weights", "s3://weights/team-a/llm"),
        ("s3://weights/*", "s3://weights"),
        ("s3://weights/team-a/*", "s3://weights/team-a/llm"),
        ("s3://weights/team-a/*", "s3://weights/team-a"),
        ("s3://weights/team-a", "s3://weights/team-a/llm"),
        ("s3://weights/team-*", "s3://weights/team-a/llm"),
        ("file:///srv/models", "file:///srv/models"),
        ("file:///srv/models/*", "file:///srv/models/llm"),
        ("file:///srv/models/", "file:///srv/models/llm/v1"),
        ("file:///", "file:///srv"),
        ("file:///*", "file:///"),
    ],
)
def test_a_place_covers_what_lies_there(place, source):
    assert covers(place, source)


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("hf://org/*", "hf://organisation/name"),
        ("hf://org/*", "hf://org"),
        ("hf://org/name", "hf://org/name-2"),
        ("hf://org/name", "hf://org"),
        ("s3://weights", "s3://weights-of-others/x"),
        ("s3://weights/team-a/*", "s3://weights/team-ab/x"),
        ("s3://weights/team-a/*", "s3://weights"),
        ("s3://weights/team-a/*", "s3://weights/team-b"),
        ("s3://*", "file:///weights"),
        ("file:///srv/models", "file:///srv/models-of-others"),
        ("file:///srv/models", "file:///srv"),
        ("file:///srv/models", "hf://srv/models"),
    ],
)
def test_a_place_does_not_cover_its_neighbours(place, source):
    assert not covers(place, source)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "org/name",
        "ftp://host/*",
        "hf://*/name",
        "hf://org/name@main",
        "hf://a/b/c",
        "hf://",
        "s3://",
        "s3:///*",
        "s3://bucket/*/llm",
        "s3://bucket/../other/*",
        "file://srv/models",
        "file:///srv/mod*",
        "file:///srv/../etc",
        "file://*",
        "hf://org/\x1b[2J*",
    ],
)
def test_what_is_no_place_is_refused(text):
    with pytest.raises(MalformedError):
        parse_place(text)


@pytest.mark.parametrize(
    "text",
    ["hf://*", "hf://org/*", "hf://org/name", "s3://*", "s3://weights/team-*", "s3://bucket/a"],
)
def test_a_place_is_shown_as_it_is_written(text):
    assert str(parse_place(text)) == text


def test_a_source_that_is_not_listed_is_refused_with_what_is_listed():
    tenant = Tenant("team-a", (parse_place("hf://team-a/*"),))
    tenant.check(ModelSpec("m", "hf://team-a/x"))
    with pytest.raises(
        ForbiddenError, match=r"team-a may not use 's3://bucket/x', but hf://team-a/\*;"
    ):
        tenant.check(ModelSpec("m", "s3://bucket/x"))


def test_a_long_list_is_not_repeated_in_a_refusal():
    places = tuple(parse_place(f"hf://org/{i}") for i in range(1000))
    with pytest.raises(ForbiddenError, match="and 990 more") as refusal:
        Tenant("t", places).check(ModelSpec("m", "s3://bucket/x"))
    assert len(str(refusal.value)) < 600


def test_a_secret_must_be_the_tenants():
    tenant = Tenant("team-a", ANYWHERE, secrets=frozenset({"mine"}))
    tenant.check(ModelSpec("m", "s3://bucket/x", credentials="mine"))
    with pytest.raises(ForbiddenError, match="has no secret 'theirs'"):
        tenant.check(ModelSpec("m", "s3://bucket/x", credentials="theirs"))


@pytest.mark.parametrize("switch", ["allow_pickle", "allow_code"])
def test_what_a_tenants_models_may_allow_is_the_operators_to_say(switch):
    tenant = Tenant("a", origins=ANYWHERE)
    spec = ModelSpec("m", "hf://o/n", **{switch: True})
    with pytest.raises(ForbiddenError, match=f"tenant a may not say {switch};"):
        tenant.check(spec)
    replace(tenant, **{switch: True}).check(spec)
    tenant.vouched().check(spec)


def test_what_an_admin_vouches_for_may_use_anything_within_the_tenants_quotas():
    tenant = Tenant("team-a", quotas=Quotas(pipelines=3)).vouched()
    tenant.check(ModelSpec("m", "file:///srv/x"))
    tenant.check(ModelSpec("m", "s3://bucket/x", credentials="whichever"))
    assert (tenant.node_credentials, tenant.allow_code, tenant.allow_pickle) == (True, True, True)
    assert tenant.quotas == Quotas(pipelines=3)


@pytest.mark.parametrize("source", ["s3://bucket/x", "file:///srv/x"])
@pytest.mark.parametrize("name", ["default", "team-a"])
def test_without_a_list_tenants_use_public_repositories_alone(name, source):
    tenant = Tenants().of(name)
    tenant.check(ModelSpec("m", "hf://org/name"))
    with pytest.raises(ForbiddenError):
        tenant.check(ModelSpec("m", source))
    with pytest.raises(ForbiddenError):
        tenant.check(ModelSpec("m", "hf://org/name", credentials="hub"))


def test_without_a_list_the_nodes_own_credentials_are_the_default_tenants():
    assert Tenants().of("default").node_credentials
    assert not Tenants().of("team-a").node_credentials


def test_a_tenant_that_is_missing_in_the_list_may_use_nothing():
    tenants = Tenants({"team-a": Tenant("team-a", ANYWHERE)})
    tenants.of("team-a").check(ModelSpec("m", "hf://org/name"))
    for name in ("default", "team-b"):
        with pytest.raises(ForbiddenError, match="but no origin at all"):
            tenants.of(name).check(ModelSpec("m", "hf://org/name"))
