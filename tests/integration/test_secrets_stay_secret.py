"""Secrets are planted wherever the programs take any, and then looked for in all that they wrote.

The two programs run for real: fills, pulls, a boot whose engine prints what it can see, and
origins that refuse and repeat the credentials that they were given. What is looked through: the
log, everything under ROOT and in the agent's directories, every answer of the API, the output of
all commands, and the command lines of all processes.
"""

import base64
import json
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from benchmarks.node import Node, NodeError, running_node
from tests.fakes.bucket_peer import REFUSED, page
from tests.fakes.hub import Fault, Hub
from tests.fakes.peer import peer, reply
from tests.fakes.weights import safetensors
from tests.integration.content import chunks
from tests.integration.programs import answer, cache_server, last_error, replica_agent

# One play of a dozen processes, before the first look.
pytestmark = pytest.mark.timeout(180)

OF_THE_NODE = "hf_planted0of0the0node"
MOUNTED = "hf_planted0and0mounted"
KEY_ID, KEY, SESSION = "AKIAPLANTED0MOUNTED0", "planted/secret+access0key", "planted//session0token"
ENV_KEY_ID, ENV_KEY = "AKIAPLANTED0OF0ENV00", "planted/of0the0environment+key"
PASSWORD = "planted0database0password"
PAGES = ["/", "/node", "/pipelines/{pipeline}"]
SECRET_FILES = {"admin-token", "identity-key", "ticket-keys.json"}  # below ROOT, mode 600

ENGINE = """
import os, pathlib, sys
print("config:", sys.argv, dict(os.environ))
for line in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    try:
        print("process:", line.read_bytes().replace(b"\\0", b" ").decode(errors="replace"))
    except OSError:
        pass
"""


@dataclass
class Evidence:
    """What the programs took, and what they left behind."""

    secrets: dict[str, list[bytes]] = field(default_factory=dict)  # name -> forms
    written: dict[str, bytes] = field(default_factory=dict)  # place -> bytes
    errors: list[str] = field(default_factory=list)  # details of refusals, as the API told them

    def plant(self, name: str, text: str | bytes) -> None:
        raw = text.encode() if isinstance(text, str) else text
        forms = {raw, base64.b64encode(raw), base64.urlsafe_b64encode(raw), raw.hex().encode()}
        forms |= {quote(raw, safe="").encode()}
        self.secrets[name] = sorted(form.rstrip(b"=") for form in forms)

    def note(self, place: str, *texts: str | bytes) -> None:
        for text in texts:
            raw = text.encode() if isinstance(text, str) else text
            self.written[place] = self.written.get(place, b"") + raw

    def found(self, name: str) -> list[str]:
        """Return the places where a secret stands, in any form."""
        return [
            place
            for place, text in self.written.items()
            if any(form in text for form in self.secrets[name])
        ]


def echoing_bucket(head: str, sock: socket.socket) -> None:
    """Serve bucket ``good``; refuse any other with the credentials of the request."""
    target = head.split(" ")[1]
    if "/good" not in target:
        said = f"The key {KEY_ID} with {KEY} and {SESSION}, or {ENV_KEY_ID} with {ENV_KEY}, is bad"
        body = f"<Error><Code>InvalidAccessKeyId</Code><Message>{said}</Message></Error>"
        sock.sendall(reply(body.encode(), "403 Forbidden"))
    elif "versioning" in target:
        sock.sendall(REFUSED)
    elif "list-type=2" in target:
        sock.sendall(reply(page("llm/config.json", size=2)))
    else:
        span = {"Content_Range": "bytes 0-1/2"}
        sock.sendall(reply(b"{}", "206 Partial Content", **span))


def mount(directory: Path, name: str, **fields: str) -> None:
    (directory / name).mkdir(parents=True)
    for file, value in fields.items():
        (directory / name / file).write_text(value)


def refuse(hub: Hub, repo: str, status: int, *, at: str, times: int = 20) -> None:
    """Have the hub refuse ``repo``, and repeat whatever token there is."""
    words = f"token {MOUNTED} or {OF_THE_NODE} ({quote(MOUNTED)}), or cut off: {MOUNTED[:12]}"
    headers = {"X-Error-Message": words, "X-Error-Code": OF_THE_NODE}
    hub.order(Fault(repo, at=at, status=status, headers=headers, times=times))


@pytest.fixture(scope="module")
def evidence(module_scratch: Path) -> Evidence:
    evidence = Evidence()
    secrets = module_scratch / "secrets"
    with Hub(module_scratch / "hub") as hub, peer(echoing_bucket) as s3:
        hub.tokens |= {MOUNTED: "team", OF_THE_NODE: "operator"}
        mount(secrets, "hub", token=MOUNTED)
        mount(
            secrets, "bucket", access_key_id=KEY_ID, secret_access_key=KEY,
            session_token=SESSION, endpoint_url=s3, region="us-east-1",
        )  # fmt: skip
        env = {
            "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": OF_THE_NODE, "AWS_ENDPOINT_URL": s3,
            "AWS_ACCESS_KEY_ID": ENV_KEY_ID, "AWS_SECRET_ACCESS_KEY": ENV_KEY,
        }  # fmt: skip
        node_root = module_scratch / "node"
        with running_node(node_root, "--secrets-dir", str(secrets), env=env) as node:
            plant(evidence, node)
            play(evidence, node, hub, module_scratch)
            ask_everything(evidence, node)
        gather(evidence, module_scratch, node)
    return evidence


def plant(evidence: Evidence, node: Node) -> None:
    for name, text in {
        "hub token of the node": OF_THE_NODE,
        "hub token, mounted": MOUNTED,
        "S3 key id, mounted": KEY_ID,
        "S3 key, mounted": KEY,
        "S3 session token, mounted": SESSION,
        "S3 key id of the environment": ENV_KEY_ID,
        "S3 key of the environment": ENV_KEY,
        "admin token": node.token,
        "identity key": (node.root / "identity-key").read_bytes(),
    }.items():
        evidence.plant(name, text)
    ring = json.loads((node.root / "ticket-keys.json").read_text())
    for number, key in enumerate(ring["keys"]):
        evidence.plant(f"ticket key {number}", bytes.fromhex(key["secret"]))


def play(evidence: Evidence, node: Node, hub: Hub, scratch: Path) -> None:
    """Have the programs do all that they do with secrets, well and badly."""
    told = node.call("POST", "/v1/tokens", {"role": "replica"})
    evidence.plant("replica's token", told["token"])
    evidence.plant("replica's secret of S3", told["s3"]["secret_access_key"])

    hub.commit("org/good", {"config.json": b"{}", "model.safetensors": safetensors(1)})
    hub.repository("org/good").gated = True
    for name in ("denied", "unknown", "broken", "cut"):
        hub.commit(f"org/{name}", {"config.json": b"{}", "w.dat": chunks(1)})
    refuse(hub, "models/org/denied", 403, at="hub")
    refuse(hub, "models/org/unknown", 401, at="hub")
    refuse(hub, "models/org/broken", 500, at="hub")
    refuse(hub, "org/cut/", 403, at="cdn")
    mounted = {"credentials": "hub"}
    pipelines = {
        "good": [{"name": "m", "source": "hf://org/good", **mounted}],
        "denied": [{"name": "m", "source": "hf://org/denied", **mounted}],
        "unknown": [{"name": "m", "source": "hf://org/unknown"}],
        "broken": [{"name": "m", "source": "hf://org/broken", **mounted}],
        "cut": [{"name": "m", "source": "hf://org/cut"}],
        "bucket": [{"name": "m", "source": "s3://good/llm", "credentials": "bucket"}],
        "no-bucket": [{"name": "m", "source": "s3://bad/llm", "credentials": "bucket"}],
        "no-bucket-of-env": [{"name": "m", "source": "s3://bad/llm"}],
        "no-secret": [{"name": "m", "source": "hf://org/good", "credentials": "absent"}],
    }
    for name, models in pipelines.items():
        node.call("PUT", f"/v1/pipelines/{name}", {"models": models})
    for name in ("good", "bucket"):
        node.warm(name)
    for name in ("denied", "unknown", "cut", "no-bucket", "no-bucket-of-env", "no-secret"):
        answer(node, "POST", f"/v1/pipelines/{name}/warm", {})
        evidence.errors.append(last_error(node, name)["detail"])

    def agent(*words: object) -> None:
        state = str(scratch / "agent/state")
        done = replica_agent(
            node, *words, REPLICA_AGENT_TOKEN=told["token"], REPLICA_AGENT_STATE_DIR=state
        )
        evidence.note("output of the agent and its engine", done.stdout, done.stderr)

    agent("pull", "--pipeline", "good", "--to", scratch / "agent/pulled")
    agent("pull", "--pipeline", "denied", "--to", scratch / "agent/denied")
    report = ("--report", scratch / "agent/report.json")
    agent("boot", "--pipeline", "good", *report, "--", sys.executable, "-c", ENGINE, "{model}")
    agent("doctor", "--pipeline", "good")
    for words in (
        ["status"],
        ["pipelines", "ls"],
        ["pipelines", "show", "denied"],
        ["tokens", "ls"],
    ):
        done = cache_server(*words, "--root", node.root)
        evidence.note("output of commands", done.stdout, done.stderr)


def ask_everything(evidence: Evidence, node: Node) -> None:
    """Keep every answer that a GET has, and every page."""
    paths = node.call("GET", "/openapi.json")["paths"] | {page: ["get"] for page in PAGES}
    names = [p["id"] for p in node.call("GET", "/v1/pipelines")["pipelines"]]
    for path, methods in paths.items():
        if "get" not in methods or "events" in path:
            continue
        # A manifest of one that fails would wait for its origin.
        every = ["good"] if "manifest" in path else names
        for name in every if "{pipeline}" in path else ["-"]:
            query = "?need=1" if "eviction" in path else ""
            try:
                told = node.call("GET", path.replace("{pipeline}", name) + query)
            except NodeError as error:
                told = str(error)
            except json.JSONDecodeError as error:  # metrics, pages
                told = error.doc
            evidence.note(f"GET {path}", json.dumps(told))


def gather(evidence: Evidence, scratch: Path, node: Node) -> None:
    """Keep every file that the programs left, but those that are there to hold a secret."""
    evidence.note("log of the node", node.log.read_bytes())
    for directory in (node.root, scratch / "agent"):
        for file in directory.rglob("*"):
            if file.is_file() and file.name not in SECRET_FILES:
                evidence.note(str(file.relative_to(scratch)), file.read_bytes())


SECRETS = [
    "hub token of the node",
    "hub token, mounted",
    "S3 key id, mounted",
    "S3 key, mounted",
    "S3 session token, mounted",
    "S3 key id of the environment",
    "S3 key of the environment",
    "admin token",
    "identity key",
    "ticket key 0",
    "replica's token",
    "replica's secret of S3",
]


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_in_nothing_that_the_programs_wrote(evidence: Evidence, name: str) -> None:
    assert evidence.found(name) == []


def test_every_secret_is_looked_for(evidence: Evidence) -> None:
    assert set(evidence.secrets) == set(SECRETS)


def test_what_was_looked_through_is_all_there(evidence: Evidence) -> None:
    written = evidence.written
    assert b"config: " in written["output of the agent and its engine"]
    assert b"-m replica_agent boot" in written["output of the agent and its engine"]
    assert b"the fill of denied failed" in written["log of the node"]
    assert b"denied" in written["node/catalogue.db"] + written.get("node/catalogue.db-wal", b"")
    assert b"time_to_ready" in written["GET /v1/boots"]
    assert b"[secret]" in written["GET /pipelines/{pipeline}"]
    assert b"warmline_" in written["GET /metrics"]
    assert b"good" in written["output of commands"]
    assert "agent/report.json" in written


def test_origins_did_repeat_the_credentials_and_were_shown_without_them(evidence: Evidence) -> None:
    repeated = [detail for detail in evidence.errors if "[secret]" in detail]
    assert len(repeated) == 5, evidence.errors  # all but the secret that is not there


@pytest.mark.parametrize("way", ["environment", "flag"])
def test_the_password_of_a_database_is_not_told(scratch: Path, way: str) -> None:
    url = f"postgresql://warmline:{PASSWORD}@127.0.0.1:1/warmline"
    words = ("serve", "--root", scratch / "root", "--port", "0", "--data-port", "0")
    if way == "flag":
        done = cache_server(*words, "--database-url", url)
    else:
        done = cache_server(*words, CACHE_SERVER_DATABASE_URL=url)
    assert done.returncode != 0
    assert done.stderr.startswith("cache-server: ")
    assert PASSWORD not in done.stdout + done.stderr
