"""What is said of one object: the head of a GET or HEAD. Pure."""

import base64
from collections.abc import Mapping
from email.utils import format_datetime

from cache_protocol.ranges import content_range
from cache_server.doors.s3.conditions import Shape, Wanted

# Weights are read by programs. No browser may take a file of somebody's repository for a page of
# this node, whose session cookie it has: so this type for all of them, and no other one to ask for.
CONTENT_TYPE = "application/octet-stream"
CHECKSUM_MODE = "x-amz-checksum-mode"


def object_fields(shape: Shape, found: Wanted, sha256: bytes | None) -> dict[str, str]:
    """Return the header fields of a reply with ``found`` of an object.

    Args:
        shape: the object's.
        found: what of it.
        sha256: of the whole object, if it was asked for and is known.
    """
    fields = {"ETag": shape.etag, "Last-Modified": format_datetime(shape.modified, usegmt=True)}
    if found.status == 304:
        return fields
    fields |= {
        "Accept-Ranges": "bytes",
        "Content-Type": CONTENT_TYPE,
        "Content-Length": str(found.span.size),
        "X-Content-Type-Options": "nosniff",
    }
    if found.status == 206:
        fields["Content-Range"] = content_range(found.span, shape.size)
    elif sha256 is not None:
        fields["x-amz-checksum-sha256"] = base64.b64encode(sha256).decode()
        fields["x-amz-checksum-type"] = "FULL_OBJECT"
    return fields


def wants_checksum(fields: Mapping[str, str], parameters: Mapping[str, str]) -> bool:
    """Whether a checksum was asked for; in a presigned URL it stands in the query."""
    asked = (fields.get(CHECKSUM_MODE, ""), parameters.get(CHECKSUM_MODE, ""))
    return "ENABLED" in (text.upper() for text in asked)
