import pytest

from cache_server.doors.s3.refusals import Code, S3Error
from cache_server.doors.s3.target import Target, parse_target


@pytest.mark.parametrize(
    ("path", "bucket", "key"),
    [
        ("/s3", "", ""),
        ("/s3/", "", ""),
        ("/s3/voice", "voice", ""),
        ("/s3/voice/", "voice", ""),
        ("/s3/voice/m/a/b.json", "voice", "m/a/b.json"),
        ("/s3/voice/m/a%20b%2Bc%C3%BC", "voice", "m/a b+cü"),
        ("/s3/voice/m/a+b", "voice", "m/a+b"),
        ("/s3/voice//m", "voice", "/m"),
        ("/s3/voice/m/", "voice", "m/"),
        ("/s3/v%6fice/m", "voice", "m"),
    ],
)
def test_a_path_names_a_bucket_and_a_key(path, bucket, key):
    assert parse_target(path) == Target(bucket, key)


@pytest.mark.parametrize("path", ["/s3//k", "/s3/Voice", "/s3/voice%2Fm/k", "/s3/../k", "/s3/%00"])
def test_a_bucket_that_no_pipeline_can_be_is_refused(path):
    with pytest.raises(S3Error) as refused:
        parse_target(path)
    assert refused.value.code is Code.INVALID_BUCKET_NAME


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(S3Error) as refused:
        parse_target("/s3/voice/%FF%FE")
    assert refused.value.code is Code.INVALID_URI
