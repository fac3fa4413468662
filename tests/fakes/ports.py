"""Both ports of a node, with a dialect of the test behind ``/s3``: for connections that move.

with both_ports(tmp_path) as ports, ports.connect() as reader:
    reader.get("/s3/a")         the data plane; b"weights"
    reader.get("/healthz")      the control plane
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from cache_server.certificates import Certificates
from cache_server.data.limits import Limits
from cache_server.data.plane import DataPlane
from cache_server.http.crowd import Crowd
from cache_server.http.encrypted import Encryption
from cache_server.http.leaving import Exit
from tests.fakes.certificates import Authority
from tests.fakes.control_plane import control_plane
from tests.fakes.data_node import QUICK, data_node
from tests.fakes.dialect import FakeDialect
from tests.fakes.origin import MemoryOrigins
from tests.fakes.reader import Reader
from tests.fakes.service import running_service
from tests.fakes.shelf import FakeShelf

BIG = bytes(range(256)) * 4 * 20000  # 20 MB: more than sockets keep
OTHER = b'{"status":"ok"}'  # of /healthz


@dataclass
class Ports:
    control: int
    plane: DataPlane
    crowd: Crowd
    encryption: object  # of clients, or None

    def connect(self) -> Reader:
        return Reader(("127.0.0.1", self.control), encryption=self.encryption)


@contextmanager
def both_ports(
    directory: Path,
    authority: Authority | None = None,
    *,
    limits: Limits = QUICK,
    **bounds: object,
) -> Iterator[Ports]:
    """Serve both until the end of the block; ``bounds`` are those of ``Crowd``."""
    (directory / "own").mkdir()
    shelf = FakeShelf(directory)
    shelf.add("a", b"weights")
    shelf.add("big", BIG)
    encryption = None
    if authority is not None:
        encryption = Encryption(Certificates(*authority.issue("127.0.0.1")))
    with (
        running_service(directory / "root", MemoryOrigins({})) as bench,
        data_node(directory / "own", limits, dialect=FakeDialect(shelf)) as node,
    ):
        crowd = Crowd(**bounds)
        leaving = Exit(b"/s3", node.plane.adopt).protocol(crowd)
        with control_plane(
            bench.service,
            crowd=SimpleNamespace(protocol=lambda: leaving),
            encryption=encryption,
        ) as control:
            client = None if authority is None else authority.client()
            yield Ports(control.port, node.plane, crowd, client)
