"""One id from the agent through the node to the origin: in reports, logs and requests."""

import json
from pathlib import Path

from benchmarks.node import Node
from tests.fakes.hub import Hub
from tests.integration.content import chunks
from tests.integration.programs import last_error, pull, until


def report_of(scratch: Path, node: Node, pipeline: str) -> dict:
    """Pull ``pipeline`` and return the report."""
    pull(node, pipeline, scratch / "out", "--report", scratch / "report.json")
    return json.loads((scratch / "report.json").read_text())


def log_of(node: Node, request_id: str) -> list[dict]:
    lines = [json.loads(line) for line in node.log.read_text().splitlines()]
    return [line for line in lines if line.get("request_id") == request_id]


def test_the_agents_id_reaches_the_origin_and_the_nodes_log(
    node: Node, hub: Hub, pipeline: str, repo: str, scratch: Path
) -> None:
    hub.commit(repo, {"a.dat": chunks(1)})
    node.put(pipeline, {"m": f"hf://{repo}"})
    name = report_of(scratch, node, pipeline)["request_id"]
    asked = [r for r in hub.log if repo in r.path and r.request_id == name]
    assert {r.at for r in asked} >= {"hub"}
    until(lambda: f"{pipeline} is warm" in " ".join(x["message"] for x in log_of(node, name)))


def test_why_a_fill_failed_is_found_in_the_log_by_the_id_of_the_report(
    node: Node, pipeline: str, repo: str, scratch: Path
) -> None:
    node.put(pipeline, {"m": f"hf://{repo}"})  # nobody committed it
    last_error(node, pipeline)
    name = report_of(scratch, node, pipeline)["request_id"]
    failed = next(line for line in log_of(node, name) if "the fill of" in line["message"])
    assert (failed["level"], failed["pipeline"]) == ("warning", pipeline)
