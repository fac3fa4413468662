"""The documents of listings: from parameters to a page, and to its XML. Pure."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from cache_server.doors.s3.catalogue import UNDATED, Catalogue
from cache_server.doors.s3.documents import Child, document, instant
from cache_server.doors.s3.listing import (
    Page,
    Question,
    after_token,
    most_of,
    page_of,
    token_after,
)
from cache_server.doors.s3.refusals import Code, S3Error

MAX_BUCKETS = 10_000  # in one page; S3's


class Names:
    """How names stand in a document: as they are, or url-encoded where a client wants that."""

    def __init__(self, encoding: str | None) -> None:
        """Encode as ``encoding-type`` says.

        Raises:
            S3Error: InvalidArgument, S3 knows no such encoding.
        """
        if encoding not in (None, "url"):
            raise S3Error(
                Code.INVALID_ARGUMENT,
                "Invalid Encoding Method specified in Request",
                details={"ArgumentName": "encoding-type", "ArgumentValue": encoding[:200]},
            )
        self.children: list[Child] = [] if encoding is None else [("EncodingType", encoding)]
        self._encodes = encoding is not None

    def shown(self, name: str) -> str:
        """Return ``name`` as it stands in the document."""
        return quote(name, safe="/-_.~") if self._encodes else name


def objects_page(bucket: str, parameters: Mapping[str, str], catalogue: Catalogue) -> bytes:
    """Return the answer to ListObjectsV2.

    Raises:
        S3Error: InvalidArgument.
    """
    names = Names(parameters.get("encoding-type"))
    token, start = parameters.get("continuation-token"), parameters.get("start-after", "")
    question = _question(parameters, after=start if token is None else after_token(token))
    page = page_of(catalogue.keys, question)
    following = [("NextContinuationToken", token_after(page.last))] if page.truncated else []
    return document(
        "ListBucketResult",
        [
            ("Name", bucket),
            *_echo(parameters, names, "Prefix", "prefix", always=True),
            *_echo(parameters, names, "StartAfter", "start-after"),
            *([] if token is None else [("ContinuationToken", token)]),
            *following,
            ("KeyCount", len(page.keys) + len(page.prefixes)),
            *_rest(parameters, names, question, page, catalogue),
        ],
    )


def objects_page_v1(bucket: str, parameters: Mapping[str, str], catalogue: Catalogue) -> bytes:
    """Return the answer to ListObjects, which goes on after a marker; raises as above."""
    names = Names(parameters.get("encoding-type"))
    question = _question(parameters, after=parameters.get("marker", ""))
    page = page_of(catalogue.keys, question)
    return document(
        "ListBucketResult",
        [
            ("Name", bucket),
            *_echo(parameters, names, "Prefix", "prefix", always=True),
            *_echo(parameters, names, "Marker", "marker", always=True),
            *([("NextMarker", names.shown(page.last))] if page.truncated else []),
            *_rest(parameters, names, question, page, catalogue),
        ],
    )


def buckets_page(tenant: str, parameters: Mapping[str, str], buckets: Sequence[str]) -> bytes:
    """Return the answer to ListBuckets; raises as above. ``buckets`` are sorted."""
    token = parameters.get("continuation-token")
    most = most_of(parameters.get("max-buckets"), "max-buckets", MAX_BUCKETS)
    question = Question(
        prefix=parameters.get("prefix", ""),
        after="" if token is None else after_token(token),
        most=most,
    )
    page = page_of(buckets, question)
    following: list[Child] = (
        [("ContinuationToken", token_after(page.last))] if page.truncated else []
    )
    return document(
        "ListAllMyBucketsResult",
        [
            ("Owner", [("ID", tenant), ("DisplayName", tenant)]),
            ("Buckets", [("Bucket", _bucket(name)) for name in page.keys]),
            *following,
        ],
    )


def _bucket(name: str) -> list[Child]:
    return [("Name", name), ("CreationDate", instant(UNDATED))]  # clients fail without one


def _question(parameters: Mapping[str, str], after: str) -> Question:
    return Question(
        prefix=parameters.get("prefix", ""),
        delimiter=parameters.get("delimiter", ""),
        after=after,
        most=most_of(parameters.get("max-keys")),
    )


def _rest(
    parameters: Mapping[str, str],
    names: Names,
    question: Question,
    page: Page,
    catalogue: Catalogue,
) -> list[Child]:
    return [
        ("MaxKeys", question.most),
        *_echo(parameters, names, "Delimiter", "delimiter"),
        *names.children,
        ("IsTruncated", page.truncated),
        *(("Contents", _contents(key, names, catalogue)) for key in page.keys),
        *(("CommonPrefixes", [("Prefix", names.shown(prefix))]) for prefix in page.prefixes),
    ]


def _contents(key: str, names: Names, catalogue: Catalogue) -> list[Child]:
    shape = catalogue.objects[key].shape
    return [
        ("Key", names.shown(key)),
        ("LastModified", instant(shape.modified)),
        ("ETag", shape.etag),
        ("Size", shape.size),
        ("StorageClass", "STANDARD"),
    ]


def _echo(
    parameters: Mapping[str, str], names: Names, element: str, name: str, *, always: bool = False
) -> list[Child]:
    value = parameters.get(name)
    if value is None and not always:
        return []
    return [(element, names.shown(value or ""))]
