import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import MalformedError
from cache_protocol.routes import (
    DIGESTS,
    FILES,
    VERDICTS,
    Resource,
    lease,
    parse_resource,
    pipeline,
    plan,
    plans,
    resource_path,
)
from tests.unit.cache_protocol import legal

resources = st.builds(
    Resource,
    st.sampled_from([FILES, DIGESTS, VERDICTS]),
    legal.generations,
    legal.models,
    legal.paths,
)


@given(resources)
def test_every_legal_file_is_found_again_from_its_url(resource: Resource):
    assert parse_resource(resource_path(resource)) == resource


@given(resources)
def test_a_url_path_is_visible_ascii_without_query_or_fragment(resource: Resource):
    path = resource_path(resource)
    assert path.isascii()
    assert not set(path) & set(' ?#\\"<>')


@given(resources, resources)
def test_two_files_never_have_one_url(one: Resource, other: Resource):
    assert (resource_path(one) == resource_path(other)) == (one == other)


def test_a_url_ends_in_the_name_of_the_file():
    path = resource_path(Resource(FILES, "0" * 32, "asr", "onnx/model.onnx"))
    assert path == f"/files/{'0' * 32}/asr/onnx/model.onnx"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/files",
        "/files/g/m",
        "/files/g/m/",
        "files/g/m/a",
        "/other/g/m/a",
        "//files/g/m/a",
    ],
)
def test_a_path_that_names_nothing_is_malformed(path: str):
    with pytest.raises(MalformedError):
        parse_resource(path)


@given(st.text(st.characters(), max_size=40))
def test_any_other_text_names_something_or_is_malformed(path: str):
    try:
        resource = parse_resource(path)
    except MalformedError:
        return
    assert resource.kind in (FILES, DIGESTS, VERDICTS)


def test_control_plane_paths_are_those_of_the_contract():
    assert pipeline("voice") == "/v1/pipelines/voice"
    assert pipeline("voice", "manifest") == "/v1/pipelines/voice/manifest"
    assert lease("l1") == "/v1/leases/l1"
    assert plans("voice", "asr") == "/v1/pipelines/voice/plans/asr"
    assert plan("voice", "asr", "0f") == "/v1/pipelines/voice/plans/asr/0f"


def test_an_id_cannot_leave_its_place_in_a_path():
    assert pipeline("../tokens?x", "warm") == "/v1/pipelines/..%2Ftokens%3Fx/warm"
    assert lease("a/b") == "/v1/leases/a%2Fb"
    assert plan("x", "a/b", "../c") == "/v1/pipelines/x/plans/a%2Fb/..%2Fc"
