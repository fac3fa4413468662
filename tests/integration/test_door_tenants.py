"""Two tenants at both doors of one running node: neither sees of the other that it is there."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from benchmarks.node import Node, running_node
from tests.fakes.hub import Hub
from tests.integration.content import chunks
from tests.integration.s3_programs import Access

REPO = "org/shared"
FILES = {"config.json": b"{}", "w.dat": chunks(1, more=5)}
TENANTS = "tenants: {ours: {origins: ['hf://*'], on_demand: true}, theirs: {origins: ['hf://*']}}"
FILE = f"{REPO}/resolve/main/w.dat"


@dataclass(frozen=True)
class Team:
    """A tenant with a replica's token of its own."""

    node: Node
    token: dict[str, Any]

    def ask(self, path: str) -> tuple[int, str | None, str | None]:
        """Return what the hub's door says: the status, its code, and where to."""
        headers = {"Authorization": f"Bearer {self.token['token']}"}
        url = urlsplit(path if path.startswith("http") else f"{self.node.control}/hf/{path}")
        connection = HTTPConnection(url.netloc, timeout=30)
        connection.request("GET", f"{url.path}?{url.query}", None, headers)
        got = connection.getresponse()
        got.read()
        connection.close()
        return got.status, got.headers["X-Error-Code"], got.headers["Location"]

    @property
    def access(self) -> Access:
        keys = self.token["s3"]
        endpoint = f"{self.node.control}/s3"
        return Access(endpoint, keys["access_key_id"], keys["secret_access_key"])

    def s3_code(self, bucket: str) -> str:
        """Return what S3's door says to who reads an object."""
        with self.access.boto3() as client, pytest.raises(ClientError) as refused:
            client.get_object(Bucket=bucket, Key="m/w.dat")
        return str(refused.value.response["Error"]["Code"])


def as_admin(node: Node, tenant: str, method: str, path: str, body: object = None) -> Any:
    """Return the answer to a call for ``tenant``."""
    headers = {
        "Authorization": f"Bearer {node.token}",
        "Warmline-Tenant": tenant,
        "Content-Type": "application/json",
    }
    connection = HTTPConnection(urlsplit(node.control).netloc, timeout=30)
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    got = connection.getresponse()
    said = got.read()
    connection.close()
    assert got.status < 300, said
    return json.loads(said or b"{}")


@pytest.fixture(scope="module")
def teams(module_scratch: Path, hub: Hub) -> Iterator[tuple[Team, Team]]:
    hub.commit(REPO, FILES)
    (module_scratch / "tenants.yaml").write_text(TENANTS)
    flags = ("--tenants", str(module_scratch / "tenants.yaml"))
    env = {"HF_ENDPOINT": hub.endpoint}
    with running_node(module_scratch / "teams", *flags, env=env) as node:

        def team(name: str) -> Team:
            body = {"role": "replica"}
            return Team(node, as_admin(node, name, "POST", "/v1/tokens", body))

        models = [{"name": "m", "source": f"hf://{REPO}"}]
        as_admin(node, "theirs", "PUT", "/v1/pipelines/secret", {"models": models})
        yield team("ours"), team("theirs")


def test_a_pipeline_of_others_is_at_both_doors_what_is_not_there(teams: tuple[Team, Team]) -> None:
    ours, theirs = teams
    assert theirs.ask(f"secret/{FILE}")[0] == 302
    assert ours.ask(f"secret/{FILE}") == ours.ask(f"nothing/{FILE}") == (404, "RepoNotFound", None)
    assert ours.s3_code("secret") == ours.s3_code("nothing") == "NoSuchBucket"
    with ours.access.boto3() as client:
        assert "secret" not in [each["Name"] for each in client.list_buckets()["Buckets"]]


def test_what_one_tenant_may_have_by_itself_is_not_there_for_the_other(
    teams: tuple[Team, Team],
) -> None:
    ours, theirs = teams
    assert ours.ask(f"-/{FILE}")[0] == 302
    assert theirs.ask(f"-/{FILE}")[0] == 403
    (made,) = as_admin(ours.node, "ours", "GET", "/v1/pipelines")["pipelines"]
    assert theirs.ask(f"{made['id']}/{FILE}")[:2] == (404, "RepoNotFound")
    assert theirs.s3_code(made["id"]) == "NoSuchBucket"


def test_a_url_of_the_hub_s_door_opens_that_file_of_that_tenant_alone(
    teams: tuple[Team, Team],
) -> None:
    ours, theirs = teams
    status, _, place = theirs.ask(f"secret/{FILE}")
    assert status == 302
    assert place is not None
    assert ours.ask(place)[0] == 200  # a URL is a right by itself
    for old, new in (
        ("tenant=theirs", "tenant=ours"),
        ("w.dat", "config.json"),
        ("expires=1", "expires=2"),
        ("/m/w.dat", "/m/../m/w.dat"),
    ):
        assert ours.ask(place.replace(old, new))[0] in (400, 403), new
