"""One replica that pulls a pipeline into memory and checks every byte, without torch.

    python -m benchmarks.replica PIPELINE     prints one line of JSON, see the end

The clock starts after the imports and before the manifest is asked for, so before the memory is
made. ``seconds`` is until every byte is in the arena and confirmed; ``mapped`` until this process
has also looked at every page, which is where the floor is when it is done. ``resident`` is
VmHWM, the most that this process ever had in memory, the model included.
"""

import json
import os
import sys
import time

from benchmarks.children import result_of
from benchmarks.node import Node
from benchmarks.resident import memory_of
from replica_agent import open_pipeline

PAGE = 4096  # bytes


def pull(node: Node, pipeline: str) -> float:
    """Return the seconds that a fresh replica takes to have ``pipeline`` verified in memory."""
    return measure(node, pipeline)["seconds"]


def pull_here(node: Node, pipeline: str) -> float:
    """Return the seconds of a replica that reads the node's own files; RuntimeError if it did not.

    It is on the node's host, as every replica here, and the only one that makes use of it.
    """
    result = measure(node, pipeline, REPLICA_AGENT_LOCAL_SOCKET="auto")
    if result["local"] != result["size"]:
        raise RuntimeError(f"{result['local']} of {result['size']} bytes were read on this host")
    return result["seconds"]


def pull_mapped(node: Node, pipeline: str) -> float:
    """Return the same with every page mapped into the replica and looked at."""
    return measure(node, pipeline)["mapped"]


def measure(node: Node, pipeline: str, **env: str) -> dict[str, float]:
    """Run a fresh replica of ``pipeline``; return what it printed."""
    result: dict[str, float] = result_of(
        "benchmarks.replica",
        pipeline,
        REPLICA_AGENT_SERVER=node.control,
        REPLICA_AGENT_TOKEN=node.token,
        **env,
        **({} if node.ca is None else {"REPLICA_AGENT_CA": str(node.ca)}),
    )
    return result


def _main(pipeline_id: str) -> None:
    begun = time.perf_counter()
    with open_pipeline(pipeline_id) as pipeline:
        pipeline.wait()
        seconds = time.perf_counter() - begun
        for name in pipeline:
            for path in pipeline[name].files():
                sum(pipeline[name].read(path)[::PAGE])
        mapped = time.perf_counter() - begun
        resident = memory_of(os.getpid(), "VmHWM")
        report = pipeline.report()
    result = {"seconds": seconds, "mapped": mapped, "resident": resident}
    sizes = {"size": report["verified_bytes"], "local": report.get("local_bytes", 0)}
    print(json.dumps(result | sizes))


if __name__ == "__main__":
    _main(sys.argv[1])
