"""Tenants from the operator's file to a replica: both programs, and a file that changes."""

import json
from pathlib import Path

from benchmarks.node import Node, running_node
from tests.integration.content import tree, write
from tests.integration.programs import cache_server, replica_agent, until

FORBIDDEN = 4  # exit code of ``cache-server --help``
FILES = {"config.json": b"{}", "w.dat": bytes(range(256)) * 100}


def rewrite(path: Path, text: str) -> None:
    """Put another file in its place, as an orderly operator does."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def token(node: Node, tenant: str, role: str) -> str:
    words = ("tokens", "create", "--role", role, "--tenant", tenant, "--json")
    done = cache_server(*words, "--root", node.root)
    return str(json.loads(done.stdout)["token"])


def test_a_deployer_registers_what_the_file_lists_as_soon_as_it_does(scratch: Path) -> None:
    write(scratch / "models/llm", FILES)
    tenants = scratch / "tenants.yaml"
    tenants.write_text("tenants: {team-a: {origins: ['hf://team-a/*']}}")
    with running_node(scratch / "node", "--tenants", str(tenants)) as node:
        deployer = token(node, "team-a", "deployer")

        def put() -> tuple[int, str]:
            words = ("pipelines", "put", "voice", "--model", f"m=file://{scratch}/models/llm")
            done = cache_server(
                *words, "--warm", "--server", node.control, CACHE_SERVER_ADMIN_TOKEN=deployer
            )
            return done.returncode, done.stderr

        code, said = put()
        assert code == FORBIDDEN
        assert "tenant team-a may not use" in said
        assert "but hf://team-a/*" in said
        rewrite(tenants, f"tenants: {{team-a: {{origins: ['file://{scratch}/models']}}}}")
        until(lambda: put()[0] == 0)

        words = ("pull", "--pipeline", "voice", "--to", scratch / "got")
        pulled = replica_agent(node, *words, REPLICA_AGENT_TOKEN=token(node, "team-a", "replica"))
        assert pulled.returncode == 0, pulled.stderr
        assert tree(scratch / "got/m") == FILES


def test_a_file_that_becomes_wrong_is_told_of_and_changes_nothing(scratch: Path) -> None:
    tenants = scratch / "tenants.yaml"
    tenants.write_text("tenants: {team-a: {origins: ['hf://team-a/*']}}")
    with running_node(scratch / "node", "--tenants", str(tenants)) as node:
        deployer = token(node, "team-a", "deployer")
        rewrite(tenants, "tenants: {team-a: {origins: ['s3://*', nonsense]}}")

        def put(source: str) -> int:
            words = ("pipelines", "put", "voice", "--model", f"m={source}")
            return cache_server(
                *words, "--server", node.control, CACHE_SERVER_ADMIN_TOKEN=deployer
            ).returncode

        until(lambda: put("hf://team-a/x") == 0 and "stay as they were" in node.log.read_text())
        assert "nonsense" in node.log.read_text()
        assert put("s3://bucket/x") == FORBIDDEN
