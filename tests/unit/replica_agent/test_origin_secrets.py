"""What an origin repeats of the replica's own credentials goes into no error of the agent."""

import pytest

from cache_protocol.errors import OriginError
from replica_agent.origin import Wanted, bring
from tests.fakes.peer import peer, reply

SECRETS = {
    "HF_TOKEN": "hf_planted0123456789",
    "AWS_ACCESS_KEY_ID": "AKIAPLANTED012345678",
    "AWS_SECRET_ACCESS_KEY": "planted/key+0123456789",
    "AWS_SESSION_TOKEN": "planted//session0123456789",
}
SAID = ", ".join(SECRETS.values())


@pytest.fixture
def origin(monkeypatch, tmp_path):
    """An origin that refuses everything, with all credentials in its words."""

    def refuses(_head, sock):
        body = f"<Error><Code>AccessDenied</Code><Message>{SAID}</Message></Error>".encode()
        sock.sendall(reply(body, "403 Forbidden", X_Error_Message=SAID, X_Error_Code="Denied"))

    with peer(refuses) as url:
        for name, value in SECRETS.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield


@pytest.mark.parametrize("source", ["hf://org/name", "s3://bucket/llm"])
def test_the_replicas_own_credentials_are_not_repeated(origin, tmp_path, source, capfd):
    with pytest.raises(OriginError) as refusal:
        bring(Wanted(source), tmp_path / "to", tmp_path / "room")
    told = str(refusal.value) + "".join(capfd.readouterr())
    assert "[secret]" in told
    used = ("HF_TOKEN",) if source.startswith("hf") else tuple(SECRETS)[1:]
    assert not [name for name in used if SECRETS[name] in told]
