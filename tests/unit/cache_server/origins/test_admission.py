from pathlib import Path

import pytest

from cache_protocol.errors import ForbiddenError, MalformedError, OriginDeniedError
from cache_server.core.content import ModelSpec
from cache_server.core.tenants import Tenant, Tenants, Terms, parse_place
from cache_server.origins.admission import Admission
from cache_server.origins.settings import OriginSettings

TEAM = Terms("team-a", vouched=False)
VOUCHED = Terms("team-a", vouched=True)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/config.json").write_text("{}")
    return tmp_path / "models"


def admission(*tenants: Tenant, closed: tuple[Path, ...] = ()) -> Admission:
    listed = Tenants({tenant.name: tenant for tenant in tenants}) if tenants else Tenants()
    return Admission(listed.of, OriginSettings(), closed=closed)


def test_what_is_not_listed_is_refused_when_it_is_registered_and_when_it_is_opened(models):
    spec = ModelSpec("m", f"file://{models}")
    with pytest.raises(ForbiddenError):
        admission().check([spec], TEAM)
    with pytest.raises(OriginDeniedError, match="team-a may not use"):
        admission().open(spec, TEAM)


def test_what_an_admin_registered_is_opened_although_it_is_not_listed(models):
    spec = ModelSpec("m", f"file://{models}")
    admission().check([spec], VOUCHED)
    origin = admission().open(spec, VOUCHED)
    assert [f.path for f in origin.resolve().files] == ["config.json"]


def test_an_admin_too_cannot_name_the_nodes_own_directory(models):
    inside = admission(closed=(models,))
    spec = ModelSpec("m", f"file://{models}")
    with pytest.raises(MalformedError, match="belongs to the node"):
        inside.check([spec], VOUCHED)
    with pytest.raises(MalformedError, match="belongs to the node"):
        inside.open(spec, VOUCHED).resolve()


def test_a_directory_that_became_a_link_after_it_was_opened_is_not_followed(models):
    (models / "llm").mkdir()
    (models.parent / "secret").mkdir()
    (models.parent / "secret/key").write_text("not yours")
    team = Tenant("team-a", (parse_place(f"file://{models}"),))
    origin = admission(team).open(ModelSpec("m", f"file://{models}/llm"), TEAM)
    (models / "llm").rmdir()
    (models / "llm").symlink_to("../secret")
    with pytest.raises(OriginDeniedError, match="is a link"):
        origin.resolve()


def test_a_source_that_is_taken_off_the_list_is_not_opened_any_more(models):
    tenants = {"team-a": Tenant("team-a", (parse_place(f"file://{models}"),))}
    gate = Admission(lambda name: Tenants(tenants).of(name), OriginSettings(), closed=())
    spec = ModelSpec("m", f"file://{models}")
    gate.open(spec, TEAM).close()
    tenants["team-a"] = Tenant("team-a")
    with pytest.raises(OriginDeniedError):
        gate.open(spec, TEAM)


def test_the_secret_of_another_tenant_is_not_told_from_one_that_is_not_there(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/token").write_text("hf_theirs")
    team = Tenant("team-a", (parse_place("hf://*"),), secrets=frozenset({"mine"}))
    gate = Admission(Tenants({"team-a": team}).of, OriginSettings(secrets_dir=tmp_path), closed=())
    told = []
    for name in ("theirs", "absent"):
        with pytest.raises(ForbiddenError) as refusal:
            gate.check([ModelSpec("m", "hf://org/name", credentials=name)], TEAM)
        told.append(str(refusal.value).replace(name, "NAME"))
    assert told[0] == told[1]
