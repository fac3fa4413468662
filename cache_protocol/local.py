"""What a node and a replica on one host say to each other over a unix socket.

Both write lines of JSON. The node speaks first, so that nothing is said to a socket that turns out
to be somebody else's:

    node    {"warmline": "local", "version": 1}
    agent   {"file": "/files/…?expires=…&ticket=…", "lease": "…"}     one question at a time
    node    {"size": 90868376}                with a descriptor, to be read
            {"size": null}                    not here, or not whole yet: the network has what is
            {"code": …, "detail": …, …}       a problem document: no

Bytes that are read from a descriptor are as good as bytes off the wire: they count once their
digests match, and those come over the data plane. So the socket is trusted with nothing.
"""

import hashlib
import hmac
import json
import re
from typing import Any, NamedTuple

from cache_protocol.errors import CacheError, MalformedError, from_problem, to_problem
from cache_protocol.names import shown

VERSION = 1
MAX_LINE = 16 * 2**10  # bytes; a signed URL of the longest path takes 4 KiB
MAX_PATH = 4096  # bytes of a socket's path; PATH_MAX
HELLO = {"warmline": "local", "version": VERSION}
_HOST = re.compile(r"[0-9a-f]{32}")
_WRONG_FORM = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class Offer(NamedTuple):
    """Where a node lends descriptors to replicas of its own host; a field of the manifest."""

    socket: str  # path, as the node sees it
    host: str  # 32 hex digits, see ``host_name``


class Question(NamedTuple):
    """What an agent wants to read."""

    target: str  # path and query of the file's URL, as the manifest has it
    lease: str


def host_name(boot_id: str) -> str:
    """Return what two programs on one running kernel agree on, and nobody else can guess.

    Not the boot id itself, which is not to leave the host; so does systemd, see
    sd_id128_get_boot_app_specific(3).
    """
    return hmac.new(boot_id.strip().encode(), b"warmline local 1", hashlib.sha256).hexdigest()[:32]


def parse_offer(value: object) -> Offer:
    """Return the offer that a manifest makes.

    Raises:
        MalformedError: no absolute path, or no name of a host.
    """
    try:
        path, host = value["socket"], value["host"]  # type: ignore[index]  # what it is shows here
    except _WRONG_FORM as error:
        raise MalformedError(
            "what a manifest says of the node's host is not of the form"
        ) from error
    if not (type(path) is str and path.startswith("/") and path.isprintable()):
        raise MalformedError("a manifest names a socket that is no absolute path")
    if len(path.encode()) > MAX_PATH or type(host) is not str or not _HOST.fullmatch(host):
        raise MalformedError("a manifest names a socket or a host of another form")
    return Offer(path, host)


def encode(message: dict[str, Any]) -> bytes:
    """Return ``message`` as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def ask(question: Question) -> bytes:
    """Return ``question`` as a line."""
    return encode({"file": question.target, "lease": question.lease})


def parse_question(line: bytes) -> Question:
    """Return what an agent asks; MalformedError when it asks nothing that has a meaning."""
    fields = _object(line)
    target, lease = fields.get("file"), fields.get("lease")
    if type(target) is not str or type(lease) is not str:
        raise MalformedError("a question needs a file and a lease, both texts")
    return Question(target, lease)


def lent(size: int | None) -> bytes:
    """Return the line that goes with a descriptor; None: without one, there is nothing to read."""
    return encode({"size": size})


def refused(error: CacheError) -> bytes:
    """Return the line that says no; it is short whatever the reason says."""
    problem = to_problem(error, 0)
    return encode(problem | {"detail": problem["detail"][:1000]})


def parse_answer(line: bytes) -> int | None:
    """Return the size of what is lent, None when there is nothing.

    Raises:
        CacheError: what the node says instead.
        MalformedError: it is no answer.
    """
    fields = _object(line)
    if "code" in fields:
        raise from_problem(fields)
    size = fields.get("size", "")
    if size is not None and (type(size) is not int or size < 0):
        raise MalformedError(f"the node lends {shown(repr(size))} bytes")
    return size


def check_hello(line: bytes) -> None:
    """Return if ``line`` is how a node of our version begins; what it says, or MalformedError."""
    fields = _object(line)
    if "code" in fields:
        raise from_problem(fields)
    if fields.get("warmline") != HELLO["warmline"] or fields.get("version") != VERSION:
        raise MalformedError("whoever listens there is no node of our version")


def _object(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedError("a line that is no JSON") from error
    if type(fields) is not dict:
        raise MalformedError("a line that is no object of JSON")
    return fields
