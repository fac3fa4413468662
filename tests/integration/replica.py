"""A replica without torch that says, line by line, how far it is.

python -m tests.integration.replica PIPELINE [--hold-at BYTES]

{"verified": n}                       bytes in place whose digests were compared
{"held": n}                           it reads no further until a line comes on stdin
{"files": {"model/path": sha256}}     the end, every file confirmed
{"error": code, "detail": …}          the other end
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from threading import Lock

from cache_protocol.errors import CacheError
from cache_protocol.manifest import Manifest
from cache_protocol.ranges import Span
from replica_agent.__main__ import exit_code
from replica_agent.arenas.cuda.memory import DeviceMemory
from replica_agent.arenas.host import HostArena, HostMemory
from replica_agent.client import ControlClient
from replica_agent.core.devices import CPU, Placement
from replica_agent.pull import LANES, Pull
from replica_agent.settings import from_environment
from replica_agent.tensors import Pipeline

_LOOK = 0.005  # seconds between two looks at the progress


class _Holding(HostMemory):
    """Memory that takes no byte after the first ``hold_at`` until stdin says so."""

    def __init__(self, hold_at: int) -> None:
        super().__init__()
        self._left = hold_at
        self._lock = Lock()

    def open_arenas(self, manifest: Manifest) -> Mapping[str, HostArena]:
        arenas = super().open_arenas(manifest)
        for arena in arenas.values():
            self._watch(arena)
        return arenas

    def _watch(self, arena: HostArena) -> None:
        room = arena.room

        def held_room(file: int, span: Span) -> memoryview:
            with self._lock:  # every lane stops here
                self._left -= span.size
                if self._left < 0:
                    _say(held=span.begin)
                    sys.stdin.readline()
                    self._left = sys.maxsize
            return room(file, span)

        arena.room = held_room  # type: ignore[method-assign]


def main() -> int:
    """Pull, say how it goes, and return what ``replica-agent`` would exit with."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pipeline")
    parser.add_argument("--hold-at", type=int)
    options = parser.parse_args()
    settings = from_environment(os.environ)
    host = HostMemory() if options.hold_at is None else _Holding(options.hold_at)
    memory = DeviceMemory(Placement(CPU), host, LANES)
    client = ControlClient.of(settings)
    pull = Pull(client, options.pipeline, memory.open_arenas)
    with Pipeline(pull, memory) as pipeline:
        try:
            _watch(pull)
            files, transfer = dict(_digests(pipeline)), pull.transfer()
            _say(
                files=files,
                wire=transfer.wire_bytes,
                local=transfer.local_bytes,
                remarks=transfer.remarks,
            )
        except CacheError as error:
            _say(error=error.code, detail=str(error))
            return exit_code(error)
    return 0


def _watch(pull: Pull) -> None:
    said = 0
    while not pull.wait(_LOOK):
        transfer = pull.current
        if transfer is not None and transfer.verified_bytes != said:
            said = transfer.verified_bytes
            _say(verified=said)


def _digests(pipeline: Pipeline) -> list[tuple[str, str]]:
    return [
        (f"{model}/{path}", hashlib.sha256(pipeline[model].read(path)).hexdigest())
        for model in pipeline
        for path in pipeline[model].files()
    ]


def _say(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
