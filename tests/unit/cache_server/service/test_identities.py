"""Tokens: made once, known by their hash, at an end when they are revoked or have run out."""

from datetime import UTC, datetime, timedelta

import pytest

from cache_protocol.errors import MalformedError, UnknownTokenError
from cache_server.catalogue.registry import Registry
from cache_server.catalogue.tokens import Tokens
from cache_server.core.access import ROOT, Role
from cache_server.service import identities as module
from cache_server.service.identities import Identities

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock():
    return [START]


@pytest.fixture
def opened(tmp_path, clock):
    """Open the identities of one node, again and again."""
    registries = []

    def opened(key: bytes = b"k" * 32) -> Identities:
        registries.append(Registry(f"sqlite:///{tmp_path}/catalogue.db"))
        return Identities(Tokens(registries[-1]), "root-token", key=key, now=lambda: clock[0])

    yield opened
    for registry in registries:
        registry.close()


def test_a_token_names_who_it_was_made_for_also_after_a_restart(opened):
    made, text = opened().create("acme", Role.REPLICA, pipelines=frozenset({"a", "b"}), name="pod")
    again = opened()
    assert again.of(text) == made.identity == again.by_id(made.identity.id)
    assert (made.identity.tenant, made.identity.pipelines) == ("acme", {"a", "b"})
    assert again.all() == [made]


def test_the_nodes_own_token_is_an_admins(opened):
    assert opened().of("root-token") is ROOT


def test_no_secret_is_in_the_database(opened, tmp_path):
    identities = opened()
    made, text = identities.create("acme", Role.VIEWER)
    s3 = identities.s3_secret(made.identity.id)
    written = b"".join(f.read_bytes() for f in tmp_path.iterdir())
    for secret in (text, text.split("_", 2)[2], s3, "root-token"):
        assert secret.encode() not in written


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "wl_",
        "wl__",
        "wl_admin_x",
        "{id}",
        "wl_{id}",
        "wl_{id}_",
        "wl_{id}_{secret}x",
        "wl_{id}_{secret:.20}",
        "WL_{id}_{secret}",
        "{secret}",
        " wl_{id}_{secret}",
        "\udcff",
        "root-token\x00",
    ],
)
def test_what_is_not_the_whole_token_is_nobodys(opened, wrong):
    identities = opened()
    made, text = identities.create("acme", Role.ADMIN)
    secret = text.removeprefix(f"wl_{made.identity.id}_")
    assert identities.of(wrong.format(id=made.identity.id, secret=secret)) is None


def test_the_secret_of_one_token_does_not_fit_another(opened):
    identities = opened()
    (one, text), (other, _) = (identities.create("acme", Role.ADMIN) for _ in range(2))
    assert identities.of(text.replace(one.identity.id, other.identity.id)) is None


def test_a_token_runs_out(opened, clock):
    identities = opened()
    made, text = identities.create("acme", Role.VIEWER, lifetime=timedelta(days=1))
    clock[0] = START + timedelta(hours=23)
    assert identities.of(text) is not None
    clock[0] = START + timedelta(days=1)
    assert identities.of(text) is identities.by_id(made.identity.id) is None


def test_a_revoked_token_is_nobodys_at_once_and_after_a_restart(opened):
    identities = opened()
    made, text = identities.create("acme", Role.VIEWER)
    identities.revoke(made.identity.id)
    assert identities.of(text) is identities.by_id(made.identity.id) is None
    assert opened().of(text) is None
    with pytest.raises(UnknownTokenError):
        identities.revoke(made.identity.id)


def test_an_s3_secret_is_derived_so_that_it_need_not_be_kept(opened):
    secret = opened().s3_secret("a")
    assert secret == opened().s3_secret("a")
    assert len({secret, opened().s3_secret("b"), opened(b"x" * 32).s3_secret("a")}) == 3


@pytest.mark.parametrize("tenant", ["", "..", "a/b", "A", "**", "x" * 101])
def test_a_tenant_has_a_name_that_is_safe_as_a_directory(opened, tenant):
    with pytest.raises(MalformedError):
        opened().create(tenant, Role.VIEWER)


def test_an_admin_is_not_narrowed_and_tokens_are_bounded_in_number(opened, monkeypatch):
    identities = opened()
    with pytest.raises(MalformedError, match="acts everywhere"):
        identities.create("acme", Role.ADMIN, pipelines=frozenset({"a"}))
    monkeypatch.setattr(module, "MAX_TOKENS", 1)
    identities.create("acme", Role.VIEWER)
    with pytest.raises(MalformedError, match="revoke some"):
        identities.create("acme", Role.VIEWER)
