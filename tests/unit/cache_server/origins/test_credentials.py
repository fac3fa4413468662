from pathlib import Path

import pytest

from cache_protocol.errors import MalformedError
from cache_server.core.content import ModelSpec
from cache_server.core.tenants import Tenant
from cache_server.origins.credentials import read_secret
from cache_server.origins.open import open_origin
from cache_server.origins.settings import OriginSettings

TENANT = Tenant("default").vouched()


def secret(root: Path, name: str, **fields: str) -> None:
    (root / name).mkdir()
    for field, value in fields.items():
        (root / name / field).write_text(value)


def test_a_secret_is_read_from_its_files(tmp_path: Path):
    secret(tmp_path, "hub", token="hf_abc\n")
    assert read_secret(tmp_path, "hub", required=("token",)) == {"token": "hf_abc"}


def test_a_secret_mounted_by_kubernetes_is_read_through_its_links(tmp_path: Path):
    secret(tmp_path, "..2026_11_20", token="hf_abc")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/..data").symlink_to("../..2026_11_20")
    (tmp_path / "hub/token").symlink_to("..data/token")
    assert read_secret(tmp_path, "hub", required=("token",)) == {"token": "hf_abc"}


def test_an_optional_field_may_be_absent(tmp_path: Path):
    secret(tmp_path, "bucket", access_key_id="A", region="eu")
    fields = read_secret(
        tmp_path, "bucket", required=("access_key_id",), optional=("region", "endpoint_url")
    )
    assert fields == {"access_key_id": "A", "region": "eu"}


@pytest.mark.parametrize("name", ["other", "", "..", "../hub", "/etc", "hub/x", "hub\0"])
def test_an_unknown_name_is_refused_by_name(tmp_path: Path, name: str):
    secret(tmp_path, "hub", token="hf_abc")
    with pytest.raises(MalformedError, match="there is no secret"):
        read_secret(tmp_path, name, required=("token",))


def test_without_a_directory_of_secrets_every_name_is_unknown():
    with pytest.raises(MalformedError, match="'hub'"):
        read_secret(None, "hub", required=("token",))


def test_a_missing_field_is_named(tmp_path: Path):
    secret(tmp_path, "hub")
    with pytest.raises(MalformedError, match="no file token"):
        read_secret(tmp_path, "hub", required=("token",))


@pytest.mark.parametrize("value", ["hf_s3cret\r\nX-Evil: 1", "s3cret word", "s3cret\0", "", "s3ä"])
def test_a_value_that_no_header_can_carry_is_refused_and_not_shown(tmp_path: Path, value: str):
    secret(tmp_path, "hub", token=value)
    with pytest.raises(MalformedError) as caught:
        read_secret(tmp_path, "hub", required=("token",))
    assert "s3" not in str(caught.value)


def test_a_model_that_names_an_unknown_secret_is_refused(tmp_path: Path):
    spec = ModelSpec("m", "hf://org/name", credentials="theirs")
    with pytest.raises(MalformedError, match="'theirs'"):
        open_origin(spec, OriginSettings(secrets_dir=tmp_path), TENANT)


def test_only_the_hub_has_revisions():
    with pytest.raises(MalformedError, match="no revisions"):
        open_origin(ModelSpec("m", "s3://bucket/x", revision="v1"), OriginSettings(), TENANT)


def test_the_settings_show_no_secret():
    settings = OriginSettings.from_env(
        {"HF_TOKEN": "hf_s3cret", "HTTPS_PROXY": "http://me:s3cret@proxy:3128", "X_PROXY": "no"}
    )
    assert settings.hf_token == "hf_s3cret"
    assert settings.proxies == {"https": "http://me:s3cret@proxy:3128"}
    assert "s3cret" not in repr(settings)


def test_the_endpoint_of_the_hub_comes_from_the_environment():
    assert OriginSettings.from_env({}).hf_endpoint == "https://huggingface.co"
    assert OriginSettings.from_env({"HF_ENDPOINT": "http://m/hf/"}).hf_endpoint == "http://m/hf"
