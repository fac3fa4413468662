"""Both planes encrypted, with both programs and the commands as real processes."""

import json
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.node import Node, clean_environment, running_node
from cache_protocol.digests import CHUNK_SIZE
from tests.fakes.certificates import Authority, Pair
from tests.integration.content import chunks, digests
from tests.integration.programs import Replica, agent_environment, cache_server, running, until

FILES = {"a.dat": chunks(9), "config.json": b"{}"}


@pytest.fixture(scope="module")
def authority(module_scratch: Path) -> Authority:
    return Authority(module_scratch / "authority")


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    """The node's certificate, for the name that agents use; commands with --root need no name."""
    return authority.issue("localhost")


@pytest.fixture(scope="module")
def node(module_scratch: Path, pair: Pair) -> Iterator[Node]:
    """A node that speaks TLS, with the pipeline ``voice`` warm."""
    weights = module_scratch / "weights"
    weights.mkdir()
    for name, content in FILES.items():
        (weights / name).write_bytes(content)
    env = {"CACHE_SERVER_TLS_CERT": str(pair.cert), "CACHE_SERVER_TLS_KEY": str(pair.key)}
    with running_node(module_scratch / "node", env=env) as node:
        said("pipelines", "put", "voice", "--model", f"m=file://{weights}", "--root", node.root)
        said("warm", "voice", "--wait", "--root", node.root)
        yield node


def said(*words: object, **env: str) -> str:
    """Run a command that must succeed; return what it said."""
    done = cache_server(*words, **env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def agent(node: Node, ca: Path | None) -> dict[str, str]:
    """Return the environment of a replica that asks ``node`` by its name."""
    env = agent_environment(node)
    env["REPLICA_AGENT_SERVER"] = re.sub("127.0.0.1", "localhost", node.control)
    return env | ({} if ca is None else {"REPLICA_AGENT_CA": str(ca)})


def run(*words: object, env: dict[str, str]) -> tuple[int, str]:
    with running("replica_agent", *words, env=env) as process:
        _, complaint = process.communicate(timeout=40)
        return process.returncode, complaint


def test_a_replica_pulls_over_tls(node: Node, authority: Authority, scratch: Path) -> None:
    words = ("pull", "--pipeline", "voice", "--to", scratch)
    assert run(*words, env=agent(node, authority.ca)) == (0, "")
    assert {name: (scratch / "m" / name).read_bytes() for name in FILES} == FILES


def test_an_engine_boots_over_tls_and_the_node_is_told(node: Node, authority: Authority) -> None:
    engine = (sys.executable, "-c", "import sys; assert open(sys.argv[1] + '/config.json')", "{m}")
    words = ("boot", "--pipeline", "voice", "--files", "--", *engine)
    code, complaint = run(*words, env=agent(node, authority.ca))
    assert code == 0, complaint
    (boot, *_) = json.loads(said("boots", "voice", "--json", "--root", node.root))["boots"]
    assert (boot["ok"], boot["source"]) == (True, "cache")


def test_an_agent_that_does_not_know_the_authority_says_what_to_do(
    node: Node, scratch: Path
) -> None:
    words = ("pull", "--pipeline", "voice", "--to", scratch)
    code, complaint = run(*words, env=agent(node, None))
    assert code == 7
    assert "its certificate is not believed" in complaint
    assert "REPLICA_AGENT_CA" in complaint


def test_a_command_believes_an_authority_or_the_root_of_the_node(
    node: Node, authority: Authority
) -> None:
    by_name = ("status", "--json", "--server", node.control.replace("127.0.0.1", "localhost"))
    token = {"CACHE_SERVER_ADMIN_TOKEN": node.token}
    assert said("status", "--json", "--root", node.root)
    assert said(*by_name, "--ca", authority.ca, **token)
    assert said(*by_name, CACHE_SERVER_CA=str(authority.ca), **token)
    refused = cache_server(*by_name, **token)
    assert refused.returncode == 3
    assert "--ca or CACHE_SERVER_CA" in refused.stderr
    other = cache_server("status", "--server", node.control, "--ca", authority.ca, **token)
    assert other.returncode == 3  # 127.0.0.1 is none of the certificate's names
    assert "IP address mismatch" in other.stderr


def test_a_certificate_is_renewed_while_a_replica_reads(
    node: Node, authority: Authority, pair: Pair
) -> None:
    env = agent(node, authority.ca)
    words = ("voice", "--hold-at", 5 * CHUNK_SIZE)
    with running("tests.integration.replica", *words, env=env) as process:
        reader = Replica(process)
        try:
            reader.says("held")
            before = shown(node)
            authority.renew(pair, "localhost")
            until(lambda: shown(node) != before)
            assert said("status", "--json", "--root", node.root)
            reader.go()
            assert reader.finished()["files"] == digests(FILES)
        finally:
            process.kill()
            reader.reader.join()


def shown(node: Node) -> str:
    """Return the fingerprint that the node says it shows."""
    certificate: str = json.loads((node.root / "node.json").read_text())["certificate"]
    return certificate


def test_plain_text_off_loopback_is_refused_or_warned_of(scratch: Path) -> None:
    words = ("serve", "--root", scratch / "root", "--host", "0.0.0.0")
    refused = cache_server(*words)
    assert refused.returncode == 2
    assert "CACHE_SERVER_TLS_CERT" in refused.stderr
    env = clean_environment()
    flags = ("--port", 0, "--data-port", 0, "--allow-plaintext", "on")
    with running("cache_server", *words, *flags, env=env) as process:
        until((scratch / "root" / "node.json").exists)
        process.terminate()
        _, log = process.communicate(timeout=40)
    assert "whoever is on the way reads tokens, URLs and weights" in log


def test_a_program_of_the_hub_downloads_over_tls(
    node: Node, authority: Authority, scratch: Path
) -> None:
    endpoint = node.control.replace("127.0.0.1", "localhost") + "/hf/voice"
    env = clean_environment(
        HF_ENDPOINT=endpoint, HF_TOKEN=node.token, HF_HOME=str(scratch / "home"),
        SSL_CERT_FILE=str(authority.ca),
    )  # fmt: skip
    program = Path(sys.executable).with_name("hf")
    command = [program, "download", "voice/m", "--local-dir", scratch / "to"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert {name: (scratch / "to" / name).read_bytes() for name in FILES} == FILES


def test_the_next_page_of_a_listing_is_at_the_same_scheme(node: Node, authority: Authority) -> None:
    place = urlsplit(node.control).netloc.replace("127.0.0.1", "localhost")
    trust = ssl.create_default_context(cafile=authority.ca)
    connection = HTTPSConnection(place, timeout=30, context=trust)
    headers = {"Authorization": f"Bearer {node.token}"}
    connection.request("GET", "/hf/voice/api/models/voice/m/tree/main?limit=1", headers=headers)
    answer = connection.getresponse()
    link = answer.getheader("Link")
    connection.close()
    assert link is not None
    assert link.startswith(f"<https://{place}/hf/voice/api/models/voice/m/tree/main?")
