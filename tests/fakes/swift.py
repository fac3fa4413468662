"""A real OpenStack Swift with its S3 API, on loopback, with data in a directory of its own.

    with swift(tmp_path) as s3:
        client = s3.client()                      boto3, or build your own from its fields
        s3.object_server.send_signal(SIGSTOP)     reads stall; SIGKILL cuts bodies short

Four processes, ready in a few seconds; ``scripts/install-swift`` installs it.
"""

import getpass
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
PYTHON = REPOSITORY / ".venv-swift/bin/python"
START_TIMEOUT = 30.0  # seconds
_ROLES = ("account", "container", "object")

_RINGS = """
import sys
from swift.common.ring import RingBuilder
directory, *ports = sys.argv[1:]
for role, port in zip(("account", "container", "object"), ports):
    ring = RingBuilder(part_power=2, replicas=1, min_part_hours=0)
    ring.add_dev(dict(region=1, zone=1, ip="127.0.0.1", port=int(port), device="disk", weight=1))
    ring.rebalance()
    ring.get_ring().save(f"{directory}/{role}.ring.gz")
"""

_COMMON = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {directory}
devices = {directory}/devices
mount_check = false
disable_fallocate = true
user = {user}
workers = 0
log_level = ERROR
log_udp_host = 127.0.0.1
log_udp_port = 9
"""

_STORAGE = """
[pipeline:main]
pipeline = {role}-server
[app:{role}-server]
use = egg:swift#{role}
"""

# listing_formats and the large-object filters are what s3api builds upon.
_PROXY = """
[pipeline:main]
pipeline = catch_errors listing_formats s3api tempauth copy slo dlo versioned_writes symlink
           proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
user_test_stranger = strange
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
"""


@dataclass(slots=True)
class Swift:
    """A running Swift, as an S3 client needs to know it."""

    endpoint: str
    object_server: subprocess.Popen[bytes]
    access_key: str = "test:tester"
    secret: str = field(default="testing", repr=False)
    stranger: tuple[str, str] = ("test:stranger", "strange")  # known, with no rights
    region: str = "us-east-1"

    def client(self) -> Any:
        """Return a boto3 client of the owner; close it."""
        import boto3  # noqa: PLC0415 - tests without S3 start faster

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret,
        )

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Freeze the object server for the length of the block."""
        self.object_server.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.object_server.send_signal(signal.SIGCONT)


def require_swift() -> None:
    """Skip the test that calls this, loudly, where Swift is not installed; fail it in CI."""
    if (REPOSITORY / ".venv-swift/installed").exists():
        return
    reason = "OpenStack Swift is not installed: run scripts/install-swift"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def swift(directory: Path) -> Iterator[Swift]:
    """Run Swift in ``directory`` for the length of the block."""
    (directory / "devices/disk").mkdir(parents=True)
    hashes = "[swift-hash]\nswift_hash_path_suffix = test\n"
    (directory / "swift.conf").write_text(
        f"{hashes}[storage-policy:0]\nname = only\ndefault = yes\n"
    )
    with ExitStack() as stack:
        held = [stack.enter_context(_bound()) for _ in range(4)]
        ports = dict(zip((*_ROLES, "proxy"), (s.getsockname()[1] for s in held), strict=True))
        stored = [str(ports[role]) for role in _ROLES]
        subprocess.run(
            [PYTHON, "-c", _RINGS, directory, *stored], check=True, timeout=START_TIMEOUT
        )
        for role, port in ports.items():
            _configure(directory, role, port)
        for bound in held:
            bound.close()
        servers = {r: stack.enter_context(_server(directory, r)) for r in ports}
        for role, port in ports.items():
            _wait_for(servers[role], port, directory / f"{role}.log")
        yield Swift(f"http://127.0.0.1:{ports['proxy']}", servers["object"])


def _bound() -> socket.socket:
    """Hold a free port until the servers start: the rings must name it before."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


def _configure(directory: Path, role: str, port: int) -> None:
    common = _COMMON.format(port=port, directory=directory, user=getpass.getuser())
    rest = _PROXY if role == "proxy" else _STORAGE.format(role=role)
    (directory / f"{role}.conf").write_text(common + rest)


@contextmanager
def _server(directory: Path, role: str) -> Iterator[subprocess.Popen[bytes]]:
    program = PYTHON.with_name(f"swift-{role}-server")
    with (directory / f"{role}.log").open("wb") as log:
        process = subprocess.Popen(
            [PYTHON, program, directory / f"{role}.conf"], stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()  # ends a stopped process too; its data is not needed any more
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + START_TIMEOUT
    while time.monotonic() < until and process.poll() is None:
        connection = HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            time.sleep(0.05)  # it is not listening yet, and has no way to say when
        else:
            return
        finally:
            connection.close()
    raise AssertionError(f"Swift did not start: {log.read_text()[-2000:]}")
