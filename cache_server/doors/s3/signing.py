r"""Signature version 4: whether a signature bears out what a request claims. Pure.

    canonical = method \n path \n sorted query \n header:value\n … \n names \n payload hash
    signature = HMAC(key of day, region and service, "AWS4-HMAC-SHA256 \n date \n scope \n" +
                sha256(canonical))

Source: as of ``claims``. For S3 a path is signed as it is sent and never normalised. Clients differ
in which characters they escape, and some send a path in another spelling than they sign, so a
signature is also good over the one spelling that the reference gives: both mean the same request.
"""

import hashlib
import hmac
from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import quote, unquote_to_bytes

from cache_server.doors.s3.claims import ALGORITHM, CONTENT, SIGNATURE, UNSIGNED, Claim
from cache_server.doors.s3.query import encoded, joined, signed_pairs
from cache_server.doors.s3.refusals import Code, S3Error
from cache_server.doors.s3.request import S3Request

EMPTY = hashlib.sha256(b"").hexdigest()
MAX_SKEW = timedelta(minutes=15)  # S3's


def check_time(claim: Claim, now: datetime) -> None:
    """Refuse a request that was signed too long ago or lies ahead.

    Raises:
        S3Error: RequestTimeTooSkewed; of a presigned URL AccessDenied, as S3 has it.
    """
    if claim.life is None and abs(now - claim.at) > MAX_SKEW:
        raise S3Error(
            Code.SKEWED,
            f"the request is signed for {_words(claim.at)}, and here it is {_words(now)}: "
            "more than 15 minutes lie between; set the clocks right",
            details={
                "RequestTime": _stamp(claim.at),
                "ServerTime": _words(now),
                "MaxAllowedSkewMilliseconds": str(MAX_SKEW // timedelta(milliseconds=1)),
            },
        )
    if claim.life is not None:
        _check_life(claim.at, claim.life, now)


def _check_life(at: datetime, life: timedelta, now: datetime) -> None:
    if at - now > MAX_SKEW:
        raise S3Error(Code.ACCESS_DENIED, f"the URL is good from {_words(at)} on, not yet")
    if now >= at + life:
        raise S3Error(
            Code.ACCESS_DENIED,
            "Request has expired: ask for a fresh URL",
            details={"Expires": _words(at + life), "ServerTime": _words(now)},
        )


def check_headers(claim: Claim, request: S3Request) -> None:
    """Refuse what could be added to a request on its way.

    Raises:
        S3Error: Host or a field of S3's is not signed; or a body is announced, and there is none.
    """
    # The digest of the body stands in what is signed anyhow.
    signed = {*claim.headers, CONTENT}
    ours = (name for name in request.fields if name == "host" or name.startswith("x-amz-"))
    unsigned = sorted(name for name in ours if name not in signed)
    if unsigned or "host" not in claim.headers:
        raise S3Error(
            Code.ACCESS_DENIED,
            "There were headers present in the request which were not signed",
            details={"HeadersNotSigned": ", ".join(unsigned or ["host"])[:1000]},
        )
    if claim.payload not in (EMPTY, UNSIGNED):
        raise S3Error(
            Code.CONTENT_MISMATCH,
            "the request has no body, and x-amz-content-sha256 is the digest of one",
            details={"S3ComputedContentSHA256": EMPTY},
        )


def is_signed(claim: Claim, request: S3Request, secret: str) -> bool:
    """Whether the signature is that of ``request`` by ``secret``; compared in constant time."""
    key = _signing_key(claim, secret)
    given = claim.signature.encode()
    return any(
        hmac.compare_digest(_sign(key, claim, form), given) for form in _forms(claim, request)
    )


def _forms(claim: Claim, request: S3Request) -> Iterator[str]:
    """Yield the canonical request as it was sent, and in the reference's spelling."""
    sent = signed_pairs(request.query, without=SIGNATURE)
    normal = [(encoded(name), encoded(value)) for name, value in sent]
    path = quote(unquote_to_bytes(request.path), safe="/-_.~")
    rest = f"{_headers(claim, request)}\n\n{';'.join(claim.headers)}\n{claim.payload}"
    for form in {(request.path, joined(sent)), (path, joined(normal))}:
        yield f"{request.method}\n{form[0]}\n{form[1]}\n{rest}"


def _headers(claim: Claim, request: S3Request) -> str:
    values = ((name, " ".join(request.fields.get(name, "").split())) for name in claim.headers)
    return "\n".join(f"{name}:{value}" for name, value in values)


def _sign(key: bytes, claim: Claim, canonical: str) -> bytes:
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    text = f"{ALGORITHM}\n{_stamp(claim.at)}\n{claim.scope}\n{digest}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest().encode()


def _signing_key(claim: Claim, secret: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in claim.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y%m%dT%H%M%SZ}"


def _words(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
