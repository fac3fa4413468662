"""A bucket has keys that name files above the model's directory, for the agent's own download."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

import pytest

from cache_protocol.errors import MalformedError
from replica_agent.origin import Wanted, bring


@contextmanager
def bucket(*keys: str) -> Iterator[tuple[str, list[str]]]:
    """Serve a bucket with ``keys`` of 5 bytes each; yield its URL and what was asked for."""
    asked: list[str] = []
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><Size>5</Size></Contents>" for key in keys
    )
    listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"

    class Bucket(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = listing.encode() if "list-type=2" in self.path else b"harm!"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("key", ["p/../../harm.json", "p//etc/harm.json", "p/a/../../harm.json"])
def test_a_key_that_leaves_the_directory_ends_the_download_before_it_begins(
    tmp_path, monkeypatch, key
):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-1",
    }.items():
        monkeypatch.setenv(name, value)
    to, room = tmp_path / "to", tmp_path / "a" / "room"
    to.mkdir()
    with bucket("p/config.json", key) as (endpoint, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(MalformedError, match="leaves its directory"):
            bring(Wanted("s3://models/p"), to, room)
    assert len(asked) == 1
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
