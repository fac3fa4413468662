"""An S3 service made of a few words: a bucket that lists and sends whatever a test says."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from cache_server.origins.s3 import S3Origin
from cache_server.origins.settings import OriginSettings
from tests.fakes.peer import Answer, peer, reply

REFUSED = reply(b"<Error><Code>NotImplemented</Code></Error>", "501 Not Implemented")
SECRET = {"access_key_id": "AKIAPLANTED", "secret_access_key": "planted", "region": "us-east-1"}


def page(*keys: str, size: int = 1, more: str = "") -> bytes:
    """Return a page of ``list_objects_v2``; ``more`` is the token of the next one."""
    rows = "".join(
        f"<Contents><Key>{key}</Key><Size>{size}</Size><ETag>&quot;e&quot;</ETag></Contents>"
        for key in keys
    )
    told = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>"
    token = f"<NextContinuationToken>{more}</NextContinuationToken>" if more else ""
    return f"<ListBucketResult>{told}{token}{rows}</ListBucketResult>".encode()


def nothing(_head: str, sock: socket.socket) -> None:
    """Answer that there is no such object."""
    sock.sendall(reply(status="404 Not Found"))


@contextmanager
def bucket(
    listing: Answer, objects: Answer = nothing, *, stall_timeout: float = 2
) -> Iterator[S3Origin]:
    """Return ``s3://bucket/llm``; it keeps no versions."""

    def answer(head, sock):
        target = head.split(" ")[1]
        if "versioning" in target:
            sock.sendall(REFUSED)
        elif "list-type=2" in target:
            listing(head, sock)
        else:
            objects(head, sock)

    with peer(answer) as url:
        settings = OriginSettings(stall_timeout=stall_timeout)
        origin = S3Origin(
            "bucket", "llm", secret={**SECRET, "endpoint_url": url}, settings=settings
        )
        yield origin
        origin.close()
