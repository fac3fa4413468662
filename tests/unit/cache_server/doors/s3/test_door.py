"""What clients of S3 are told, by a real client wherever it asks for such a thing."""

import base64
import hashlib
import logging

import pytest
from botocore.exceptions import ClientError

from cache_protocol import errors
from cache_protocol.formats import Hazard
from cache_server.catalogue.registry import Key
from cache_server.core.access import ROOT
from cache_server.core.content import LeftOut
from cache_server.doors.s3.operations import ELSEWHERE
from cache_server.doors.s3.request import S3Request
from tests.fakes.s3_door import RESOLVED, VOICE, Door, code, content, pattern

CONFIG = pattern("m/config.json", 10)


@pytest.fixture
def door():
    return Door()


@pytest.fixture
def client(door):
    return door.client()


def test_an_object_is_read_with_its_tag_and_time(client, door):
    found = client.get_object(Bucket="voice", Key="m/config.json")
    assert found["Body"].read() == CONFIG
    assert found["ETag"] == f'"{door.stock.pipelines[VOICE].id}-0"'
    assert found["LastModified"] == RESOLVED.replace(microsecond=0)
    assert found["AcceptRanges"] == "bytes"


def test_what_is_warm_is_looked_up_once(client, door, monkeypatch):
    looks, of = [], door.door._catalogues.of
    monkeypatch.setattr(door.door._catalogues, "of", lambda found: looks.append(found) or of(found))
    client.get_object(Bucket="voice", Key="m/config.json")
    assert looks == [door.stock.pipelines[VOICE]]


def test_a_tag_is_that_of_the_data_plane(client, door):
    for path in ("config.json", "model.safetensors"):
        found = client.head_object(Bucket="voice", Key=f"m/{path}")
        assert found["ETag"] == door.stock.pipelines[VOICE].file("m", path).etag


def test_a_range_is_read(client):
    found = client.get_object(Bucket="voice", Key="m/config.json", Range="bytes=2-4")
    assert (found["Body"].read(), found["ContentRange"]) == (CONFIG[2:5], "bytes 2-4/10")


def test_a_head_of_a_range_says_its_length(client):
    found = client.head_object(Bucket="voice", Key="m/config.json", Range="bytes=-3")
    assert (found["ContentLength"], found["ContentRange"]) == (3, "bytes 7-9/10")


def test_an_empty_object_is_read(client, door):
    door.stock.put({"m/empty": 0})
    found = client.get_object(Bucket="voice", Key="m/empty")
    assert (found["Body"].read(), found["ContentLength"]) == (b"", 0)


def test_a_whole_object_comes_with_its_checksum_and_boto3_holds_it_to_that(door):
    digest = hashlib.sha256(pattern("m/a", 100)).hexdigest()
    door.stock.put({"m/a": 100}, sha256=digest)
    found = door.client().get_object(Bucket="voice", Key="m/a")
    assert found["ChecksumSHA256"] == base64.b64encode(bytes.fromhex(digest)).decode()
    assert found["ChecksumType"] == "FULL_OBJECT"
    assert len(found["Body"].read()) == 100
    door.stock.put({"m/a": 100}, sha256="00" * 32)
    with pytest.raises(Exception, match="checksum"):
        door.client().get_object(Bucket="voice", Key="m/a")["Body"].read()


def test_what_was_confirmed_here_counts_before_what_was_announced(door):
    made = door.stock.put({"m/a": 3}, sha256="00" * 32)
    made.file("m", "a").confirm(b"\x01" * 32)
    found = door.client().head_object(Bucket="voice", Key="m/a", ChecksumMode="ENABLED")
    assert base64.b64decode(found["ChecksumSHA256"]) == b"\x01" * 32


def test_a_range_has_no_checksum_and_nor_has_who_asks_for_none(door):
    door.stock.put({"m/a": 100}, sha256="00" * 32)
    asked = door.ask("/voice/m/a", range="bytes=0-1", x_amz_checksum_mode="ENABLED")
    for reply in (asked, door.ask("/voice/m/a")):
        assert not [name for name in reply.fields if "checksum" in name]


def test_a_presigned_url_asks_for_a_checksum_in_its_query(door):
    door.stock.put({"m/a": 100}, sha256="00" * 32)
    reply = door.answer(door.presigned("/voice/m/a?x-amz-checksum-mode=ENABLED"))
    assert "x-amz-checksum-sha256" in reply.fields


def test_a_file_is_never_a_page_of_this_node(door):
    door.stock.put({"m/page.html": 10})
    fields = door.ask("/voice/m/page.html").fields
    assert fields["Content-Type"] == "application/octet-stream"
    assert fields["X-Content-Type-Options"] == "nosniff"
    reply = door.ask("/voice/m/page.html?response-content-type=text%2Fhtml")
    assert (reply.status, code(reply)) == (501, "NotImplemented")


def test_an_object_that_did_not_change_is_not_sent_again(door):
    tag = door.ask("/voice/m/config.json", "HEAD").fields["ETag"]
    reply = door.ask("/voice/m/config.json", if_none_match=tag)
    assert (reply.status, reply.body, reply.fields["ETag"]) == (304, b"", tag)
    assert "Content-Length" not in reply.fields


def test_a_part_of_another_object_is_refused(client):
    with pytest.raises(ClientError) as refused:
        client.get_object(Bucket="voice", Key="m/config.json", IfMatch='"other"')
    assert refused.value.response["Error"]["Code"] == "PreconditionFailed"


def test_a_key_that_is_not_there_is_said_so(client):
    with pytest.raises(client.exceptions.NoSuchKey) as refused:
        client.get_object(Bucket="voice", Key="m/none")
    assert refused.value.response["Error"]["Key"] == "m/none"


def test_of_a_file_that_stayed_at_its_origin_it_is_said_why(door):
    door.stock.put({"m/a": 1}, left_out=(LeftOut("model.pt", 5, Hazard.PICKLE),))
    reply = door.ask("/voice/m/model.pt")
    assert (reply.status, code(reply)) == (404, "NoSuchKey")
    assert b"allow_pickle" in reply.body
    assert b"model.pt" not in door.ask("/voice?list-type=2").body


def test_a_bucket_that_is_not_there_is_said_so(client):
    with pytest.raises(client.exceptions.NoSuchBucket):
        client.list_objects_v2(Bucket="none")
    with pytest.raises(ClientError, match="404"):
        client.head_bucket(Bucket="none")


def test_a_key_below_a_prefix_is_no_object(client):
    for key in ("m", "m/", "config.json"):
        with pytest.raises(ClientError, match="404"):
            client.head_object(Bucket="voice", Key=key)


def test_a_bucket_is_in_no_region_and_has_no_versions(client):
    assert client.get_bucket_location(Bucket="voice")["LocationConstraint"] is None
    assert "Status" not in client.get_bucket_versioning(Bucket="voice")
    assert client.get_object(Bucket="voice", Key="m/config.json", VersionId="null")["ETag"]
    with pytest.raises(ClientError, match="NoSuchVersion"):
        client.get_object(Bucket="voice", Key="m/config.json", VersionId="7")


@pytest.mark.parametrize("parameter", sorted(ELSEWHERE))
@pytest.mark.parametrize("target", ["/voice", "/voice/m/config.json"])
def test_what_is_not_there_is_not_made_up(door, parameter, target):
    reply = door.ask(f"{target}?{parameter}")
    assert (reply.status, code(reply)) == (501, "NotImplemented")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize(
    ("target", "kind"), [("", "SERVICE"), ("/voice", "BUCKET"), ("/voice/m/a", "OBJECT")]
)
def test_nothing_is_written(door, method, target, kind):
    reply = door.ask(target, method)
    assert (reply.status, code(reply)) == (405, "MethodNotAllowed")
    assert reply.fields["Allow"] == "GET, HEAD"
    assert f"<ResourceType>{kind}</ResourceType>".encode() in reply.body


def test_boto3_is_told_that_nothing_is_written(client):
    calls = {
        "put_object": {"Bucket": "voice", "Key": "m/a", "Body": b"x"},
        "delete_object": {"Bucket": "voice", "Key": "m/a"},
        "create_bucket": {"Bucket": "voice"},
        "create_multipart_upload": {"Bucket": "voice", "Key": "m/a"},
        "delete_objects": {"Bucket": "voice", "Delete": {"Objects": [{"Key": "m/a"}]}},
    }
    for name, arguments in calls.items():
        with pytest.raises(ClientError, match="MethodNotAllowed"):
            getattr(client, name)(**arguments)


def test_a_look_starts_no_fill_and_a_read_does(client, door):
    client.list_objects_v2(Bucket="voice")
    client.head_object(Bucket="voice", Key="m/config.json")
    assert {question for question, _, _ in door.stock.asked} == {"names"}
    client.get_object(Bucket="voice", Key="m/config.json")
    assert door.stock.asked[-1] == ("open", "ours", VOICE)


def test_a_head_of_the_first_byte_has_the_object_brought(client, door):
    client.head_object(Bucket="voice", Key="m/config.json", Range="bytes=0-0")
    assert door.stock.asked[-1] == ("open", "ours", VOICE)


def test_a_key_that_is_not_there_starts_no_fill(client, door):
    with pytest.raises(client.exceptions.NoSuchKey):
        client.get_object(Bucket="voice", Key="m/none")
    assert door.stock.asked == [("names", "ours", VOICE)]


def test_a_bucket_is_looked_at_without_its_origin(client, door):
    client.head_bucket(Bucket="voice")
    client.get_bucket_location(Bucket="voice")
    client.list_buckets()
    assert {question for question, _, _ in door.stock.asked} == {"check"}


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (errors.BusyError("full"), 503, "SlowDown"),
        (errors.QuotaError("enough"), 503, "SlowDown"),
        (errors.DrainingError("ends"), 503, "ServiceUnavailable"),
        (errors.OriginDeniedError("gated"), 403, "AccessDenied"),
        (errors.OriginNotFoundError("none"), 404, "NoSuchBucket"),
        (errors.OriginUnavailableError("down"), 503, "SlowDown"),
        (errors.UnsafeContentError("pickles"), 403, "InvalidObjectState"),
        (RuntimeError("a bug, with a secret"), 500, "InternalError"),
    ],
)
def test_whatever_goes_wrong_behind_the_door_is_said_in_its_words(
    door, caplog, error, status, word
):
    door.stock.broken = error
    with caplog.at_level(logging.CRITICAL):
        reply = door.ask("/voice/m/config.json")
    assert (reply.status, code(reply)) == (status, word)
    assert b"secret" not in content(reply)
    assert ("Retry-After" in reply.fields) is (status == 503)


def test_an_origin_s_own_wish_is_passed_on(door):
    door.stock.broken = errors.OriginUnavailableError("429", retry_after=17.2)
    assert door.ask("/voice").fields["Retry-After"] == "18"


def test_the_answer_to_a_head_has_no_body_also_where_it_is_an_error(door):
    for target in ("", "/voice", "/voice/m/config.json", "/voice/m/none", "/none", "/None"):
        assert door.ask(target, "HEAD").body == b"", target


def test_an_answer_names_the_request(door):
    replies = [door.ask("/voice"), door.ask("/none"), door.ask("/voice/m/config.json")]
    names = {reply.fields["x-amz-request-id"] for reply in replies}
    assert len(names) == 3
    assert replies[1].fields["x-amz-request-id"].encode() in replies[1].body


def test_an_answer_has_the_id_that_its_request_came_with(door):
    reply = door.ask("/none", x_request_id="start-7")
    assert reply.fields["x-amz-request-id"] == "start-7"
    assert b"<RequestId>start-7</RequestId>" in reply.body
    reply = door.ask("/none", x_request_id="a b\u00e9")
    assert len(reply.fields["x-amz-request-id"]) == 16


def test_a_connection_counts_for_its_tenant_and_an_admin_s_for_nobody(door):
    door.keys.add("theirs", tenant="other")
    door.keys.known["root"] = ROOT
    assert door.ask("").tenant == "default"
    assert door.ask("", key="theirs").tenant == "other"
    assert door.ask("", key="root").tenant is None
    assert door.ask("/none").tenant is None  # nothing is sent that would have to be counted


def test_who_has_shown_a_good_key_is_known_and_so_is_an_admin(door):
    door.keys.known["root"] = ROOT
    assert door.ask("").known
    assert door.ask("", key="root").known
    assert not door.ask("", key="nobody").known


def test_with_auth_off_who_may_ask_is_known():
    door = Door(auth=False)
    hosts = ("localhost:8080", "evil.example")
    asked = [S3Request("GET", "/s3/voice", "", {"host": host}) for host in hosts]
    assert [door.answer(each).known for each in asked] == [True, False]


def test_with_auth_off_nobody_signs_on_this_machine():
    door = Door(auth=False)
    for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:8080"):
        asked = S3Request("GET", "/s3/voice/m/config.json", "", {"host": host})
        assert content(door.answer(asked)) == CONFIG


@pytest.mark.parametrize("host", ["evil.example:8080", "[::1", "", "cache:8080"])
def test_with_auth_off_a_name_that_is_not_this_machine_s_is_refused(host):
    reply = Door(auth=False).answer(S3Request("GET", "/s3", "", {"host": host}))
    assert (reply.status, code(reply)) == (403, "AccessDenied")


@pytest.mark.parametrize(
    "said", [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "null"}]
)
def test_with_auth_off_no_site_has_a_browser_start_a_fill(said):
    door = Door(auth=False)
    fields = {"host": "localhost:8080", **said}
    reply = door.answer(S3Request("GET", "/s3/voice/m/config.json", "", fields))
    assert (reply.status, code(reply)) == (403, "AccessDenied")
    assert door.stock.asked == []


def test_a_pipeline_of_the_same_name_in_another_tenant_is_another_bucket(door):
    door.stock.put({"m/theirs": 5}, key=Key("other", "voice"))
    door.keys.add("theirs", tenant="other")
    found = door.client("theirs").list_objects_v2(Bucket="voice")["Contents"]
    assert [each["Key"] for each in found] == ["m/theirs"]
