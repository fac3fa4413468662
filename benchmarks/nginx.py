"""Serve a directory with nginx, as an operator would by hand: sendfile, two workers."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.node import stop

_CONFIG = """\
daemon off; worker_processes 2; pid {scratch}/pid; error_log {scratch}/error.log;{user}
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush on; sendfile_max_chunk 2m;
  client_body_temp_path {scratch}/a; proxy_temp_path {scratch}/b; fastcgi_temp_path {scratch}/c;
  uwsgi_temp_path {scratch}/d; scgi_temp_path {scratch}/e;
  server {{ listen 127.0.0.1:{port}; root {directory}; }}
}}
"""


def find_nginx() -> str | None:
    """Return the path of nginx; Debian keeps it where a user's PATH does not look."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def serving_directory(directory: Path, scratch: Path) -> Iterator[str]:
    """Serve ``directory`` for the length of the block; yield its URL. nginx must be there."""
    scratch.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    user = " user root;" if os.geteuid() == 0 else ""  # workers must read what root wrote
    config = scratch / "nginx.conf"
    config.write_text(_CONFIG.format(scratch=scratch, directory=directory, port=port, user=user))
    program = find_nginx()
    assert program is not None
    with (scratch / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [program, "-c", str(config), "-p", str(scratch)], stderr=stderr, stdout=stderr
        )
    try:
        _wait_for(port, process, scratch / "stderr")
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(process)


def _free_port() -> int:
    # nginx cannot report a port that it was left to choose.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            time.sleep(0.01)
        else:
            return
    raise RuntimeError(f"nginx does not listen: {log.read_text()}")
