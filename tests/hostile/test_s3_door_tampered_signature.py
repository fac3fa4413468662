"""A signed request, changed on its way: to read something else, or to pass as somebody else."""

import pytest

from cache_server.doors.s3.request import S3Request
from tests.fakes.s3_door import Door, code, content


@pytest.fixture
def door():
    door = Door()
    door.keys.add("theirs", tenant="other")
    return door


def refused(door: Door, request: S3Request) -> str:
    """Return the code of the refusal; nothing but what was sent may be in it."""
    reply = door.answer(request)
    said = content(reply).decode()
    assert reply.status in (400, 403), said
    assert "secret" not in said
    assert "m/model.safetensors" not in said or "model.safetensors" in request.path
    assert len(said) < 4000
    return code(reply)


def changed(request: S3Request, **fields: str) -> S3Request:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return S3Request(request.method, request.path, request.query, {**request.fields, **named})


def test_not_one_digit_of_a_signature_can_be_another(door):
    request = door.signed("/voice/m/config.json")
    header = request.fields["authorization"]
    assert door.answer(request).status == 200
    for at in range(len(header) - 64, len(header)):
        other = "0" if header[at] != "0" else "1"
        spoilt = changed(request, authorization=header[:at] + other + header[at + 1 :])
        request_of_anew = S3Request("GET", spoilt.path, "", spoilt.fields, peer=f"10.0.0.{at}")
        assert refused(door, request_of_anew) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    "path",
    ["/s3/voice/m/model.safetensors", "/s3/voice/m/config.json/", "/s3/voice", "/s3/other/m/a"],
)
def test_a_signature_opens_its_path_alone(door, path):
    request = door.signed("/voice/m/config.json")
    assert refused(door, S3Request("GET", path, "", request.fields)) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("query", ["list-type=2", "x", "partNumber=1", "X-Amz-Expires=60", "%"])
def test_nothing_is_added_to_a_query(door, query):
    request = door.signed("/voice/m/config.json")
    spoilt = S3Request("GET", request.path, query, request.fields)
    assert refused(door, spoilt) == "SignatureDoesNotMatch"


def test_nothing_is_taken_from_a_query(door):
    request = door.signed("/voice?list-type=2&prefix=m%2Fc&max-keys=1")
    for query in ("list-type=2&prefix=m%2Fc", "list-type=2&max-keys=1", ""):
        spoilt = S3Request("GET", request.path, query, request.fields)
        assert refused(door, spoilt) == "SignatureDoesNotMatch"


def test_a_key_of_somebody_else_is_not_put_in_its_place(door):
    request = door.signed("/voice/m/config.json")
    header = request.fields["authorization"].replace("Credential=ours/", "Credential=theirs/")
    assert refused(door, changed(request, authorization=header)) == "SignatureDoesNotMatch"


def test_a_region_is_not_put_in_its_place(door):
    request = door.signed("/voice/m/config.json")
    header = request.fields["authorization"].replace("/us-east-1/", "/us-east-2/")
    assert refused(door, changed(request, authorization=header)) == "SignatureDoesNotMatch"


def test_a_signed_field_is_neither_changed_nor_taken_away(door):
    request = door.signed("/voice/m/config.json", range="bytes=0-1")
    assert door.answer(request).status == 206
    assert refused(door, changed(request, range="bytes=0-9")) == "SignatureDoesNotMatch"
    fields = {name: value for name, value in request.fields.items() if name != "range"}
    spoilt = S3Request("GET", request.path, "", fields)
    assert refused(door, spoilt) == "SignatureDoesNotMatch"


def test_a_field_is_not_taken_off_the_list_of_what_is_signed(door):
    request = door.signed("/voice/m/config.json", range="bytes=0-1")
    header = request.fields["authorization"].replace(";range;", ";")
    assert refused(door, changed(request, authorization=header)) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("names", ["host\nx-evil", "host;x\r\n", "host:a;x", "", ";", "host;"])
def test_a_name_that_ends_its_line_signs_nothing(door, names):
    request = door.signed("/voice/m/config.json")
    begin, _, rest = request.fields["authorization"].partition("SignedHeaders=")
    header = f"{begin}SignedHeaders={names}, {rest.partition(', ')[2]}"
    assert refused(door, changed(request, authorization=header)) == "AuthorizationHeaderMalformed"


def test_an_answer_to_a_read_does_not_write(door):
    request = door.presigned("/voice/m/config.json")
    for method in ("PUT", "DELETE", "POST"):
        reply = door.answer(S3Request(method, request.path, request.query, request.fields))
        assert (reply.status, code(reply)) == (405, "MethodNotAllowed")
    head = S3Request("HEAD", request.path, request.query, request.fields)
    assert door.answer(head).status == 403
