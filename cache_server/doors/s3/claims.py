"""What a request claims of its signature: whose key, when, over which fields. Pure.

    Authorization: AWS4-HMAC-SHA256 Credential=<key>/<day>/<region>/s3/aws4_request,
                   SignedHeaders=host;x-amz-date, Signature=<64 hex>

    or, in a URL that somebody may hand on:

    ?X-Amz-Algorithm=…&X-Amz-Credential=…&X-Amz-Date=…&X-Amz-Expires=…&X-Amz-SignedHeaders=…
     &X-Amz-Signature=…

Here it is read and nothing of it believed: ``signing`` does that. Source: Amazon S3 API reference,
"Authenticating Requests (AWS Signature Version 4)".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from cache_protocol.names import shown
from cache_server.doors.s3.refusals import Code, S3Error
from cache_server.doors.s3.request import S3Request

ALGORITHM = "AWS4-HMAC-SHA256"
SIGNATURE = "X-Amz-Signature"
CONTENT = "x-amz-content-sha256"
UNSIGNED = "UNSIGNED-PAYLOAD"
MAX_LIFE = timedelta(days=7)  # of a presigned URL; S3's
MAX_SIGNED = 100  # names of header fields; SDKs sign about ten

_PARTS = ("Credential", "SignedHeaders", "Signature")
# Any region is right: what clients are set to says nothing of a node.
_CREDENTIAL = re.compile(
    r"(?P<key>[A-Za-z0-9_-]{1,128})/(?P<day>[0-9]{8})/(?P<region>[A-Za-z0-9-]{1,64})/s3/aws4_request"
)
_INSTANT = re.compile(r"[0-9]{8}T[0-9]{6}Z", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{64}")
# RFC 9110, 5.6.2, in lower case: a name that could end its line would let one request be signed and
# another one be read.
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]{1,100}")


@dataclass(frozen=True, slots=True)
class Claim:
    """Who says to have signed a request, when, and what of it."""

    key: str  # access key id
    region: str
    at: datetime  # UTC
    headers: tuple[str, ...]  # whose values are signed
    signature: str
    payload: str  # as signed: a digest, or a word of S3
    life: timedelta | None = None  # of a presigned URL

    @property
    def scope(self) -> str:
        """What the key that signs is derived for."""
        return f"{self.at:%Y%m%d}/{self.region}/s3/aws4_request"


def read_claim(request: S3Request, parameters: Mapping[str, str]) -> Claim | None:
    """Return what ``request`` claims; None if it is not signed at all.

    Raises:
        S3Error: it is signed in two ways, in an older way, or in a way that cannot be read.
    """
    header = request.fields.get("authorization")
    presigned = "X-Amz-Algorithm" in parameters or SIGNATURE in parameters
    if header is not None and presigned:
        raise S3Error(
            Code.INVALID_ARGUMENT,
            "a request is signed in its Authorization header or in its query, not in both",
            details={"ArgumentName": "Authorization"},
        )
    if presigned:
        return _claim_of_query(request, parameters)
    if "AWSAccessKeyId" in parameters:
        raise _old_signature()
    return None if header is None else _claim_of_header(header, request)


def _claim_of_header(header: str, request: S3Request) -> Claim:
    if not header.startswith(f"{ALGORITHM} "):
        raise _old_signature()
    parts = _parts(header.removeprefix(ALGORITHM))
    if (payload := request.fields.get(CONTENT)) is None:
        raise S3Error(Code.INVALID_REQUEST, f"Missing required header for this request: {CONTENT}")
    at = _instant_of(request)
    key, region = _credential(parts["Credential"], at, Code.HEADER_MALFORMED)
    headers = _names(parts["SignedHeaders"], Code.HEADER_MALFORMED)
    signature = _signature(parts["Signature"], Code.HEADER_MALFORMED)
    return Claim(key, region, at, headers, signature, payload)


def _parts(text: str) -> dict[str, str]:
    """Return what the header says, by name, in whichever order it does."""
    pairs = [part.strip(" \t").partition("=") for part in text.split(",")]
    if sorted(name for name, _, _ in pairs) != sorted(_PARTS):
        raise _malformed("it is not Credential=…, SignedHeaders=…, Signature=…")
    return {name: value for name, _, value in pairs}


def _old_signature() -> S3Error:
    return S3Error(
        Code.INVALID_REQUEST,
        f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM}, "
        "with the keys that 'cache-server tokens create --role replica --s3' shows; boto3 presigns "
        "with it where Config(signature_version='s3v4') says so.",
    )


def _claim_of_query(request: S3Request, parameters: Mapping[str, str]) -> Claim:
    wrong = Code.QUERY_MALFORMED
    needed = ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
    if missing := [name for name in needed if f"X-Amz-{name}" not in parameters]:
        raise _malformed(f"X-Amz-{missing[0]} is missing", wrong)
    if parameters["X-Amz-Algorithm"] != ALGORITHM:
        raise _malformed(f"X-Amz-Algorithm only supports {ALGORITHM}", wrong)
    if "X-Amz-Security-Token" in parameters:
        raise no_session()
    at = _instant(parameters["X-Amz-Date"], wrong)
    key, region = _credential(parameters["X-Amz-Credential"], at, wrong)
    return Claim(
        key,
        region,
        at,
        _names(parameters["X-Amz-SignedHeaders"], wrong),
        _signature(parameters["X-Amz-Signature"], wrong),
        request.fields.get(CONTENT, parameters.get("X-Amz-Content-Sha256", UNSIGNED)),
        _life(parameters["X-Amz-Expires"]),
    )


def no_session() -> S3Error:
    """Return the answer to a session token: keys of this node have none."""
    return S3Error(
        Code.INVALID_TOKEN,
        "keys of this node come without a session token: take AWS_SESSION_TOKEN out of the "
        "environment",
    )


def _life(text: str) -> timedelta:
    if not re.fullmatch(r"[0-9]{1,10}", text, re.ASCII):
        raise _malformed("X-Amz-Expires should be a number", Code.QUERY_MALFORMED)
    life = timedelta(seconds=int(text))
    if not timedelta() < life <= MAX_LIFE:
        raise _malformed(
            f"X-Amz-Expires is {text} seconds; a URL lives between 1 second and a week (604800)",
            Code.QUERY_MALFORMED,
        )
    return life


def _instant_of(request: S3Request) -> datetime:
    if (text := request.fields.get("x-amz-date")) is not None:
        return _instant(text, Code.HEADER_MALFORMED)
    try:
        return parsedate_to_datetime(request.fields["date"]).astimezone(UTC)
    except (KeyError, ValueError, OverflowError) as error:
        raise S3Error(
            Code.ACCESS_DENIED,
            "AWS authentication requires a valid Date or x-amz-date header",
        ) from error


def _instant(text: str, wrong: Code) -> datetime:
    if not _INSTANT.fullmatch(text):
        raise _malformed("a date is written YYYYMMDDThhmmssZ", wrong)
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise _malformed(f"there is no date {text}", wrong) from error


def _credential(text: str, at: datetime, wrong: Code) -> tuple[str, str]:
    match = _CREDENTIAL.fullmatch(text)
    if match is None:
        raise _malformed(
            f"the Credential is not KEY/YYYYMMDD/REGION/s3/aws4_request: {shown(text)}", wrong
        )
    if match["day"] != f"{at:%Y%m%d}":
        raise _malformed(
            f"the Credential is of day {match['day']} and the request of {at:%Y%m%d}", wrong
        )
    return match["key"], match["region"]


def _names(text: str, wrong: Code) -> tuple[str, ...]:
    names = tuple(text.split(";"))
    lawful = all(_NAME.fullmatch(name) for name in names[:MAX_SIGNED])
    if len(names) > MAX_SIGNED or not lawful or list(names) != sorted(set(names)):
        raise _malformed(
            f"SignedHeaders are at most {MAX_SIGNED} names in lower case, sorted, each once", wrong
        )
    return names


def _signature(text: str, wrong: Code) -> str:
    if not _HEX.fullmatch(text):
        raise _malformed("a signature has 64 hex digits", wrong)
    return text


def _malformed(why: str, code: Code = Code.HEADER_MALFORMED) -> S3Error:
    where = "authorization header" if code is Code.HEADER_MALFORMED else "query"
    return S3Error(code, f"the {where} is malformed: {why}")
