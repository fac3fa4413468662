"""Signatures, with botocore's own signer as the oracle."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_server.doors.s3.claims import read_claim
from cache_server.doors.s3.query import parse_query
from cache_server.doors.s3.refusals import Code, S3Error
from cache_server.doors.s3.request import S3Request
from cache_server.doors.s3.signing import check_headers, check_time, is_signed
from tests.fakes.s3_door import ENDPOINT, as_request

SECRET = "a secret/with+signs="
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def signed(
    path: str, query: str = "", method: str = "GET", headers: dict | None = None, **more
) -> S3Request:
    url = f"{ENDPOINT}{path}{'?' if query else ''}{query}"
    request = AWSRequest(method, url, headers=headers or {})
    signer = S3SigV4Auth(Credentials("key", SECRET), "s3", more.get("region", "eu-west-1"))
    signer.add_auth(request)
    return as_request(request)


def presigned(path: str, expires: int = 60) -> S3Request:
    request = AWSRequest("GET", f"{ENDPOINT}{path}")
    signer = S3SigV4QueryAuth(Credentials("key", SECRET), "s3", "us-east-1", expires)
    signer.add_auth(request)
    return as_request(request)


def claim_of(request: S3Request):
    return read_claim(request, parse_query(request.query))


def holds(request: S3Request, secret: str = SECRET) -> bool:
    claim = claim_of(request)
    check_headers(claim, request)
    return is_signed(claim, request, secret)


def refusal(request: S3Request) -> Code:
    with pytest.raises(S3Error) as refused:
        check_headers(claim_of(request), request)
    return refused.value.code


def with_fields(request: S3Request, **fields: str) -> S3Request:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return S3Request(request.method, request.path, request.query, {**request.fields, **named})


@settings(max_examples=60)
@given(key=TEXT, prefix=TEXT, method=st.sampled_from(["GET", "HEAD"]))
def test_what_boto3_signs_is_found_to_be_signed(key, prefix, method):
    path = f"/voice/{quote(key, safe='/~')}"
    request = signed(path, f"list-type=2&prefix={quote(prefix, safe='-_.~')}", method)
    assert holds(request)
    assert not holds(request, "another secret")


@settings(max_examples=40)
@given(key=TEXT, seconds=st.integers(1, 604800))
def test_what_boto3_presigns_is_found_to_be_signed(key, seconds):
    request = presigned(f"/voice/{quote(key, safe='/~')}", seconds)
    assert holds(request)
    assert claim_of(request).life == timedelta(seconds=seconds)


@pytest.mark.parametrize("region", ["us-east-1", "auto", "local", "eu-central-1"])
def test_any_region_is_right(region):
    request = signed("/voice/k", region=region)
    assert holds(request)
    assert claim_of(request).region == region


def test_spaces_in_a_signed_field_are_folded_as_the_signer_folds_them():
    assert holds(signed("/voice/k", headers={"x-amz-meta-note": "  two   words "}))


def test_a_path_that_is_sent_in_another_spelling_than_signed_is_the_same_request():
    request = signed("/voice/m/a%20b%2Bc~d")
    assert holds(S3Request("GET", "/s3/voice/m/a%20b+c%7ed", request.query, request.fields))


def test_a_query_in_another_order_is_the_same_request():
    request = signed("/voice", "list-type=2&prefix=a&delimiter=%2F")
    turned = "&".join(reversed(request.query.split("&")))
    assert holds(S3Request("GET", request.path, turned, request.fields))


def test_an_unsigned_payload_is_as_good_as_an_empty_one():
    request = AWSRequest("GET", f"{ENDPOINT}/voice/k", headers={})

    class Unsigned(S3SigV4Auth):
        def payload(self, request):
            return "UNSIGNED-PAYLOAD"

    Unsigned(Credentials("key", SECRET), "s3", "us-east-1").add_auth(request)
    assert holds(as_request(request))


def test_the_parts_of_a_signature_come_in_any_order():
    request = signed("/voice/k")
    parts = request.fields["authorization"].removeprefix("AWS4-HMAC-SHA256 ").split(", ")
    for turned in (", ".join(reversed(parts)), ",".join(parts), " ,\t".join(parts)):
        assert holds(with_fields(request, authorization=f"AWS4-HMAC-SHA256  {turned} "))


def test_a_date_field_stands_in_for_the_one_of_s3():
    request = AWSRequest("GET", f"{ENDPOINT}/voice/k", headers={"Date": "soon"})
    S3SigV4Auth(Credentials("key", SECRET), "s3", "us-east-1").add_auth(request)
    assert "x-amz-date" not in as_request(request).fields
    assert holds(as_request(request))


@pytest.mark.parametrize("part", ["method", "path", "query", "host", "signature", "range"])
def test_whatever_is_changed_of_a_request_breaks_its_signature(part):
    request = signed("/voice/k", "prefix=a", headers={"range": "bytes=0-1"})
    header = request.fields["authorization"]
    last = "1" if header[-1] == "0" else "0"
    changed = {
        "method": S3Request("HEAD", request.path, request.query, request.fields),
        "path": S3Request("GET", "/s3/voice/l", request.query, request.fields),
        "query": S3Request("GET", request.path, "prefix=b", request.fields),
        "host": with_fields(request, host="elsewhere:8080"),
        "signature": with_fields(request, authorization=header[:-1] + last),
        "range": with_fields(request, range="bytes=0-2"),
    }[part]
    assert holds(request)
    assert not holds(changed)


def test_a_request_that_is_not_signed_claims_nothing():
    assert claim_of(S3Request("GET", "/s3", "", {"host": "h"})) is None


def test_a_field_of_s3_that_is_not_signed_is_refused():
    request = signed("/voice/k")
    assert refusal(with_fields(request, x_amz_checksum_mode="ENABLED")) is Code.ACCESS_DENIED


def test_a_signature_without_the_host_is_refused():
    request = signed("/voice/k")
    header = request.fields["authorization"].replace("SignedHeaders=host;", "SignedHeaders=")
    assert refusal(with_fields(request, authorization=header)) is Code.ACCESS_DENIED


def test_the_digest_of_a_body_is_refused_where_there_is_none():
    request = signed("/voice/k")
    assert refusal(with_fields(request, x_amz_content_sha256="ab" * 32)) is Code.CONTENT_MISMATCH


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("AWS key:abc=", Code.INVALID_REQUEST),
        ("Bearer wl_0_secret", Code.INVALID_REQUEST),
        ("AWS4-ECDSA-P256-SHA256 Credential=a, SignedHeaders=b, Signature=c", Code.INVALID_REQUEST),
        ("AWS4-HMAC-SHA256 ", Code.HEADER_MALFORMED),
        ("AWS4-HMAC-SHA256 Credential=key", Code.HEADER_MALFORMED),
        ("AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b, Signature=c, d=e", Code.HEADER_MALFORMED),
        ("AWS4-HMAC-SHA256 Credential=a, Credential=a, Signature=c", Code.HEADER_MALFORMED),
    ],
)
def test_a_header_that_is_no_signature_says_so(header, code):
    assert refusal(with_fields(signed("/voice/k"), authorization=header)) is code


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/s3/aws4_request", "/sqs/aws4_request"),
        ("/s3/aws4_request", "/s3/aws4"),
        ("Credential=key/", "Credential=k e y/"),
        ("Credential=key/2", "Credential=key/1"),
        ("SignedHeaders=host;", "SignedHeaders=Host;"),
        ("SignedHeaders=host;", "SignedHeaders=x;host;"),
        ("SignedHeaders=host;", "SignedHeaders=host;host;"),
        ("Signature=", "Signature=0"),
        ("Signature=", "Signature=Z"),
    ],
)
def test_a_header_with_a_part_that_cannot_be_is_malformed(old, new):
    request = signed("/voice/k")
    header = request.fields["authorization"]
    assert old in header
    changed = with_fields(request, authorization=header.replace(old, new))
    assert refusal(changed) is Code.HEADER_MALFORMED


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("X-Amz-Expires=60", "X-Amz-Expires=604801", Code.QUERY_MALFORMED),
        ("X-Amz-Expires=60", "X-Amz-Expires=0", Code.QUERY_MALFORMED),
        ("X-Amz-Expires=60", "X-Amz-Expires=-1", Code.QUERY_MALFORMED),
        ("X-Amz-Expires=60", "X-Amz-Expires=1e3", Code.QUERY_MALFORMED),
        ("X-Amz-Expires=60", "", Code.QUERY_MALFORMED),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=none", Code.QUERY_MALFORMED),
        ("X-Amz-Date=2", "X-Amz-Date=x", Code.QUERY_MALFORMED),
        ("X-Amz-Expires=60", "X-Amz-Expires=60&X-Amz-Security-Token=t", Code.INVALID_TOKEN),
        ("X-Amz-Expires=60", "X-Amz-Expires=60&X-Amz-Expires=61", Code.INVALID_ARGUMENT),
    ],
)
def test_a_presigned_url_with_a_part_that_cannot_be_is_refused(old, new, code):
    request = presigned("/voice/k")
    assert old in request.query
    query = request.query.replace(old, new)
    assert refusal(S3Request("GET", request.path, query, request.fields)) is code


def test_a_request_is_signed_in_one_way():
    request = presigned("/voice/k")
    both = with_fields(request, authorization=signed("/voice/k").fields["authorization"])
    assert refusal(both) is Code.INVALID_ARGUMENT


def test_a_url_that_was_presigned_in_the_old_way_says_how_it_is_done():
    request = S3Request("GET", "/s3/voice/k", "AWSAccessKeyId=key&Signature=x&Expires=1", {})
    with pytest.raises(S3Error, match="signature_version='s3v4'"):
        claim_of(request)


@pytest.mark.parametrize(
    ("minutes", "code"), [(-15, None), (15, None), (-15.1, Code.SKEWED), (15.1, Code.SKEWED)]
)
def test_clocks_may_be_a_quarter_of_an_hour_apart(minutes, code):
    claim = claim_of(signed("/voice/k"))
    assert outcome(claim, claim.at + timedelta(minutes=minutes)) is code


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(-900, None), (0, None), (59, None), (60, Code.ACCESS_DENIED), (-901, Code.ACCESS_DENIED)],
)
def test_a_presigned_url_is_good_for_its_life(seconds, code):
    claim = claim_of(presigned("/voice/k", 60))
    assert outcome(claim, claim.at + timedelta(seconds=seconds)) is code


def outcome(claim, now: datetime) -> Code | None:
    try:
        check_time(claim, now)
    except S3Error as refused:
        return refused.code
    return None


@pytest.mark.parametrize("text", ["20260230T000000Z", "00000101T000000Z", "2026-01-01", "٢٠٢٦"])
def test_a_date_that_is_none_is_refused(text):
    assert refusal(with_fields(signed("/voice/k"), x_amz_date=text)) is Code.HEADER_MALFORMED


def test_the_latest_day_that_can_be_written_is_out_of_time():
    request = with_fields(signed("/voice/k"), x_amz_date="99991231T235959Z")
    day = request.fields["authorization"].split("/")[1]
    header = request.fields["authorization"].replace(f"/{day}/", "/99991231/")
    claim = claim_of(with_fields(request, authorization=header))
    assert outcome(claim, datetime(2026, 1, 1, tzinfo=UTC)) is Code.SKEWED
