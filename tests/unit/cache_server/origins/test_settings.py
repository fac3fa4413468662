import pytest

from cache_protocol.errors import MalformedError
from cache_server.origins.settings import HUB, OriginSettings

ENV = {
    "HF_TOKEN": " hf_planted\n",
    "AWS_ACCESS_KEY_ID": "AKIAPLANTED",
    "AWS_SECRET_ACCESS_KEY": "planted-key",
    "AWS_SESSION_TOKEN": "planted-session",
    "HTTPS_PROXY": "http://user:planted-password@proxy:3128",
    "PATH": "/bin",
}


def test_without_a_word_the_hub_is_the_public_one_and_nothing_is_secret():
    settings = OriginSettings.from_env({})
    assert (settings.hf_endpoint, settings.hf_token, settings.secrets) == (HUB, None, frozenset())


def test_what_must_not_be_repeated_is_known():
    assert OriginSettings.from_env(ENV).secrets == {
        "hf_planted",
        "AKIAPLANTED",
        "planted-key",
        "planted-session",
        "planted-password",
    }


def test_no_secret_is_shown_by_the_settings_themselves():
    shown = repr(OriginSettings.from_env(ENV))
    assert "planted" not in shown
    assert "PLANTED" not in shown


@pytest.mark.parametrize("token", ["hf_planted\nX-Other: 1", "hf_pl anted", "hf_plantéd", "a\x00b"])
def test_a_token_that_is_no_header_value_is_refused_and_not_repeated(token):
    with pytest.raises(MalformedError, match="HF_TOKEN is not one printable word") as refusal:
        OriginSettings.from_env({"HF_TOKEN": token})
    assert "hf_" not in str(refusal.value)


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_the_certificates_of_s3_are_those_that_boto3_would_take(name):
    assert OriginSettings.from_env({name: "/etc/ca.pem"}).ca_bundle == "/etc/ca.pem"
