"""Which operation of S3 a request asks for. Pure.

S3 tells its operations apart by method, by what the path names, and by a parameter of the query.
What is not among these is not there to be had: nothing here writes, and an answer that is made up
(of access lists, tags, versions) would be believed.
"""

from collections.abc import Mapping
from enum import Enum, auto

from cache_server.doors.s3.refusals import Code, S3Error
from cache_server.doors.s3.target import Target


class Operation(Enum):
    """What this door does."""

    LIST_BUCKETS = auto()
    HEAD_BUCKET = auto()
    LOCATION = auto()
    VERSIONING = auto()
    LIST = auto()  # the second version, which clients use
    LIST_V1 = auto()
    OBJECT = auto()  # GET and HEAD


# Parameters by which S3 means another operation, or another answer, than those above.
ELSEWHERE = frozenset(
    {
        "accelerate", "acl", "analytics", "attributes", "cors", "encryption",
        "intelligent-tiering", "inventory", "legal-hold", "lifecycle", "logging", "metadataTable",
        "metrics", "notification", "object-lock", "ownershipControls", "policy", "policyStatus",
        "publicAccessBlock", "replication", "requestPayment", "restore", "retention", "select",
        "session", "tagging", "torrent", "uploadId", "uploads", "versions", "website",
    }
)  # fmt: skip
READ_ONLY = (
    "The specified method is not allowed against this resource: this endpoint is read only; what "
    "is in a bucket comes from the origin of its pipeline"
)
OVERRIDES = "response-"  # of header fields of the answer: see ``objects.CONTENT_TYPE``


def check_method(method: str, target_is: str) -> None:
    """Refuse what is not reading.

    Raises:
        S3Error: MethodNotAllowed.
    """
    if method not in ("GET", "HEAD"):
        raise S3Error(
            Code.METHOD_NOT_ALLOWED,
            READ_ONLY,
            details={"Method": method[:32], "ResourceType": target_is},
            fields={"Allow": "GET, HEAD"},
        )


def operation_of(method: str, target: Target, parameters: Mapping[str, str]) -> Operation:
    """Return what a GET or HEAD of ``target`` asks for.

    Raises:
        S3Error: NotImplemented; InvalidArgument for a kind of listing that S3 does not have.
    """
    _check_implemented(parameters)
    if target.key:
        _check_version(parameters)
        return Operation.OBJECT
    if not target.bucket:
        return Operation.LIST_BUCKETS
    if method == "HEAD":
        return Operation.HEAD_BUCKET
    if "location" in parameters:
        return Operation.LOCATION
    if "versioning" in parameters:
        return Operation.VERSIONING
    return _listing(parameters)


def _listing(parameters: Mapping[str, str]) -> Operation:
    kind = parameters.get("list-type")
    if kind not in (None, "1", "2"):
        raise S3Error(
            Code.INVALID_ARGUMENT,
            "list-type is 2, or is left out",
            details={"ArgumentName": "list-type", "ArgumentValue": kind[:200]},
        )
    return Operation.LIST if kind == "2" else Operation.LIST_V1


def _check_implemented(parameters: Mapping[str, str]) -> None:
    for name in parameters:
        if name in ELSEWHERE or name.startswith(OVERRIDES):
            raise S3Error(
                Code.NOT_IMPLEMENTED,
                "A header or parameter you provided implies functionality that is not "
                "implemented: this endpoint lists and reads",
                details={"Parameter": name[:200]},
            )


def _check_version(parameters: Mapping[str, str]) -> None:
    if (version := parameters.get("versionId", "null")) != "null":
        raise S3Error(
            Code.NO_SUCH_VERSION,
            "The specified version does not exist: objects here have one, 'null'",
            details={"VersionId": version[:200]},
        )
