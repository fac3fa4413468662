"""One request as the door takes it, whichever server has read it from a socket. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = "/s3"  # of every path; it is part of what clients sign


@dataclass(frozen=True, slots=True)
class S3Request:
    """A request without a body."""

    method: str
    path: str  # as it stood on the wire, percent signs and all: the signature is over it
    query: str  # likewise, without the question mark
    fields: Mapping[str, str]  # names in lower case; a repeated field is joined by commas
    peer: str = "unknown"  # address, against which wrong signatures count
