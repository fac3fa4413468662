"""What all rows share, made when the first row needs it: weights, a node, a warm pipeline."""

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import trustme

from benchmarks.checkpoints import write_checkpoint
from benchmarks.hub import Hub, running_hub
from benchmarks.node import Node, running_node
from replica_agent.pull import LANES

__all__ = ["LANES", "Bench"]


class Bench:
    """One run of the benchmarks. Use it as a context: it ends its processes and files."""

    def __init__(self, size: int, rounds: int, directory: str | None) -> None:
        """Work below ``directory`` on about ``size`` bytes; compare ``rounds`` times."""
        self.asked = size
        self.rounds = rounds
        self._stack = ExitStack()
        self.scratch = Path(
            self._stack.enter_context(
                tempfile.TemporaryDirectory(prefix="warmline-bench-", dir=directory)
            )
        )
        self._ids = itertools.count(1)
        self.laid_out: list[Any] = []  # what ``laid_out`` prints, of each pull for ranks so far

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def model(self) -> Path:
        """A directory of two shards of about the size asked for."""
        directory = self.scratch / "model"
        write_checkpoint(directory, self.asked)
        return directory

    @cached_property
    def quarter(self) -> Path:
        """Another of a quarter of the size, for rows that hold many copies at once."""
        directory = self.scratch / "quarter"
        write_checkpoint(directory, self.asked // 4, seed=1)
        return directory

    @cached_property
    def node(self) -> Node:
        """A node that runs until the end."""
        return self._stack.enter_context(running_node(self.scratch / "cache"))

    @cached_property
    def warm(self) -> str:
        """A pipeline of ``model`` that is warm."""
        self.node.put("warm", {"model": f"file://{self.model}"})
        self.node.warm("warm")
        return "warm"

    @cached_property
    def encrypted(self) -> Node:
        """A node that speaks TLS, with a warm pipeline of ``model`` that is called ``warm``."""
        authority = trustme.CA()
        ca, cert, key = (self.scratch / name for name in ("ca.pem", "cert.pem", "key.pem"))
        made = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(ca)
        made.cert_chain_pems[0].write_to_path(cert)
        made.private_key_pem.write_to_path(key)
        env = {"CACHE_SERVER_TLS_CERT": str(cert), "CACHE_SERVER_TLS_KEY": str(key)}
        running = running_node(self.scratch / "tls-cache", env=env)
        node = replace(self._stack.enter_context(running), ca=ca)
        node.put("warm", {"model": f"file://{self.model}"})
        node.warm("warm")
        return node

    @cached_property
    def slot(self) -> list[Path]:
        """The weight files that the node serves for ``warm``."""
        return self.node.slot_files(self.warm)

    @property
    def size(self) -> int:
        """Bytes of the weights in ``slot``."""
        return sum(path.stat().st_size for path in self.slot)

    @contextmanager
    def hub(self, rate: str | None = None) -> Iterator[tuple[Hub, Node]]:
        """Run a hub that offers ``model`` and ``quarter``, and a node that pulls from it."""
        cache = self.scratch / f"hub-cache-{next(self._ids)}"
        models = {"model": self.model, "quarter": self.quarter}
        with (
            running_hub(self.scratch / "hub", models, rate) as hub,
            running_node(cache, env={"HF_ENDPOINT": hub.url}) as node,
        ):
            yield hub, node

    @contextmanager
    def fresh(self, node: Node, models: dict[str, str]) -> Iterator[str]:
        """Register ``models`` under an id that the node has never seen; remove it afterwards."""
        pipeline = f"fresh-{next(self._ids)}"
        node.put(pipeline, models)
        try:
            yield pipeline
        finally:
            node.call("DELETE", f"/v1/pipelines/{pipeline}")
