"""What docs/operations.md says of backups: the database and two keys, never weights."""

import shutil
import sqlite3
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.node import Node, running_node
from tests.integration.content import chunks, write
from tests.integration.programs import cache_of


def back_up(root: Path, to: Path) -> None:
    """Copy what a node cannot get back by itself, while it runs."""
    to.mkdir()
    with closing(sqlite3.connect(root / "catalogue.db")) as database:
        database.execute("VACUUM INTO ?", (str(to / "catalogue.db"),))
    for key in ("admin-token", "identity-key"):
        shutil.copy(root / key, to / key)


def sees_pipelines(node: Node, token: str) -> bool:
    connection = HTTPConnection(urlsplit(node.control).netloc, timeout=30)
    connection.request("GET", "/v1/pipelines", headers={"Authorization": f"Bearer {token}"})
    try:
        return connection.getresponse().status == 200
    finally:
        connection.close()


def test_a_backup_of_the_database_brings_back_registrations_pins_and_tokens_on_another_disk(
    scratch: Path,
) -> None:
    weights = write(scratch / "weights", {"w.dat": chunks(1)})
    with running_node(scratch / "root") as node:
        node.put("voice", {"m": f"file://{weights}"})
        node.warm("voice")
        node.call("PUT", "/v1/pipelines/voice/pin")
        token = node.call("POST", "/v1/tokens", {"role": "viewer"})["token"]
        back_up(node.root, scratch / "backup")
        admin = node.token
    assert not list((scratch / "backup").rglob("*.dat"))
    shutil.move(scratch / "backup", scratch / "other")
    with running_node(scratch / "other") as node:
        assert node.token == admin
        assert sees_pipelines(node, token)
        cache = cache_of(node, "voice")
        assert cache["pinned"]
        node.warm("voice")  # from its origin
