"""``cache-server tokens`` as it is typed, against a control plane over a real socket."""

import json

import pytest

from cache_server.core.hub_tokens import from_hub
from tests.fakes.control_plane import TOKEN
from tests.fakes.service import SOURCE


@pytest.fixture
def act(node, monkeypatch):
    """Run a command as the holder of a token."""

    def act(*words: str, token: str = TOKEN) -> tuple[int, str, str]:
        monkeypatch.setenv("CACHE_SERVER_ADMIN_TOKEN", token)
        return node(*words)

    return act


def test_the_token_stands_alone_on_stdout_and_works(act):
    code, token, about = act("tokens", "create", "--role", "viewer")
    assert code == 0
    assert "it is not shown again" in about
    assert act("pipelines", "ls", token=token.strip())[0] == 0


def test_a_token_is_shown_as_settings_of_s3_s_clients(act, plane):
    code, lines, about = act("tokens", "create", "--role", "replica", "--s3")
    settings = dict(line.split("=", 1) for line in lines.split())
    assert code == 0
    assert settings["AWS_ENDPOINT_URL"] == settings["S3_ENDPOINT_URL"] == f"{plane.url}/s3"
    assert settings["AWS_ACCESS_KEY_ID"] in about
    assert len(settings["AWS_SECRET_ACCESS_KEY"]) == 43
    assert settings["AWS_DEFAULT_REGION"] == "local"


def test_a_token_is_shown_as_settings_of_the_hub_s_programs(act, plane):
    words = ("tokens", "create", "--role", "replica", "--pipeline", "voice", "--hf")
    _, lines, _ = act(*words)
    settings = dict(line.split("=", 1) for line in lines.split())
    assert settings["HF_ENDPOINT"] == f"{plane.url}/hf/voice"
    assert from_hub(settings["HF_TOKEN"]).startswith("wl_")


def test_a_token_of_several_pipelines_leaves_the_endpoint_open_and_may_have_s3_s_too(act):
    _, lines, _ = act("tokens", "create", "--role", "replica", "--hf", "--s3")
    settings = dict(line.split("=", 1) for line in lines.split())
    assert "HF_ENDPOINT" not in settings
    assert {"HF_TOKEN", "AWS_ACCESS_KEY_ID"} <= set(settings)


def test_what_a_role_may_not_do_exits_with_4_and_says_why(act):
    _, token, _ = act("tokens", "create", "--role", "viewer")
    code, _, complaint = act("evict", "voice", token=token.strip())
    assert code == 4
    assert "role viewer" in complaint


def test_tokens_are_listed_without_their_secrets(act):
    _, token, _ = act("tokens", "create", "--role", "replica", "--pipeline", "a", "--name", "pod")
    _, listed, _ = act("tokens", "ls")
    assert "pod" in listed
    assert token.strip().split("_", 2)[2] not in act("tokens", "ls", "--json")[1]


def test_a_revoked_token_is_nobodys(act):
    _, made, _ = act("tokens", "create", "--role", "viewer", "--json")
    made = json.loads(made)
    assert act("tokens", "revoke", made["id"])[0] == 0
    assert act("pipelines", "ls", token=made["token"])[0] == 4
    code, _, complaint = act("tokens", "revoke", made["id"])
    assert (code, "there is no token" in complaint) == (4, True)


def test_a_token_of_a_tenant_sees_the_pipelines_of_that_tenant_alone(act):
    model = ("--model", f"m={SOURCE}")
    assert act("pipelines", "put", "ours", *model)[0] == 0
    assert act("pipelines", "put", "theirs", *model, "--tenant", "b")[0] == 0
    _, token, _ = act("tokens", "create", "--role", "deployer", "--tenant", "b")
    _, listed, _ = act("pipelines", "ls", token=token.strip())
    assert ("theirs" in listed, "ours" in listed) == (True, False)
    assert act("pipelines", "show", "ours", token=token.strip())[0] == 4
    assert act("pipelines", "ls", "--tenant", "default", token=token.strip())[0] == 4


@pytest.mark.parametrize("lifetime", ["soon", "P0D", "PT0S"])
def test_a_lifetime_that_is_none_is_wrong_usage(act, lifetime):
    assert act("tokens", "create", "--role", "viewer", "--lifetime", lifetime)[0] == 2


def test_a_viewer_of_all_tenants_lists_them_with_their_tenant(act):
    model = ["--model", "m=file:///m"]
    for tenant in ("a", "b"):
        assert act("pipelines", "put", "voice", *model, "--tenant", tenant)[0] == 0
    _, token, _ = act("tokens", "create", "--role", "viewer", "--tenant", "*")
    _, listed, _ = act("pipelines", "ls", token=token.strip())
    assert "tenant" in listed.splitlines()[0]
    assert [line.split()[-1] for line in listed.splitlines()[1:]] == ["a", "b"]
    assert act("tokens", "create", "--role", "deployer", "--tenant", "*")[0] == 2
