"""Quotas as an operator sets them: a file that is changed while the node runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.node import Node, running_node
from tests.integration.content import write
from tests.integration.programs import cache_server, pull, until

FILES = {"config.json": b"{}", "w.dat": bytes(2_000_000)}


def limit(scratch: Path, quotas: str) -> None:
    text = f'tenants: {{default: {{origins: ["file://{scratch}"], quotas: {{{quotas}}}}}}}\n'
    (scratch / "new").write_text(text)
    (scratch / "new").rename(scratch / "tenants.yaml")


@pytest.fixture
def limited(scratch: Path) -> Iterator[Node]:
    """A node whose tenant may have one pipeline and fill nothing."""
    write(scratch / "m", FILES)
    limit(scratch, "pipelines: 1, fills: 0")
    flags = {"CACHE_SERVER_TENANTS": str(scratch / "tenants.yaml")}
    with running_node(scratch / "root", env=flags) as node:
        node.put("voice", {"m": f"file://{scratch / 'm'}"})
        yield node


def put(node: Node, name: str, source: Path) -> "tuple[int, str]":
    given = ("--model", f"m=file://{source}", "--root", node.root)
    done = cache_server("pipelines", "put", name, *given)
    return done.returncode, done.stderr


def test_a_command_that_meets_a_quota_says_which_and_a_raised_one_counts_without_a_restart(
    limited: Node, scratch: Path
) -> None:
    code, words = put(limited, "second", scratch / "m")
    assert code == 7
    assert "tenant default has 1 pipelines, and its quota is 1" in words
    limit(scratch, "pipelines: 2, fills: 0")
    until(lambda: put(limited, "second", scratch / "m")[0] == 0)


def test_a_replica_of_a_tenant_that_may_not_fill_is_told_so_and_pulls_once_it_may(
    limited: Node, scratch: Path
) -> None:
    done = pull(limited, "voice", scratch / "out")
    assert done.returncode == 6
    assert "its quota is 0" in done.stderr
    limit(scratch, "fills: 1")
    until(lambda: pull(limited, "voice", scratch / "out").returncode == 0)
