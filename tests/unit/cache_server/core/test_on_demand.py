from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.names import check_pipeline
from cache_server.core.on_demand import asked_for, pipeline_of, wanted

REPOSITORIES = st.from_regex(
    r"[A-Za-z0-9_][\w.-]{0,90}(/[A-Za-z0-9_][\w.-]{0,90})?", fullmatch=True
)


@given(REPOSITORIES, st.text(min_size=1, max_size=255))
def test_every_repository_and_revision_has_a_lawful_id(repository, revision):
    check_pipeline(pipeline_of(repository, revision.encode(errors="ignore").decode() or "main"))


def test_an_id_can_be_read():
    assert pipeline_of("meta-llama/Llama-3.1-8B", "main").startswith("hf-meta-llama-llama-3.1-8b-")


def test_the_same_question_meets_in_one_pipeline_and_another_does_not():
    same = pipeline_of("org/name", "main")
    assert same == pipeline_of("org/name", "main")
    assert len({same, pipeline_of("org/name", "v2"), pipeline_of("Org/Name", "main")}) == 3


def test_a_pipeline_that_came_by_itself_is_known_by_its_id_and_model():
    spec = wanted("org/name", "main")
    pipeline = pipeline_of("org/name", "main")
    assert asked_for(pipeline, (spec,)) == "org/name"
    for put in (
        (replace(spec, allow_code=True),),
        (replace(spec, name="asr"),),
        (replace(spec, revision="v2"),),
        (replace(spec, revision=None),),
        (spec, spec),
    ):
        assert asked_for(pipeline, put) is None
    assert asked_for("voice", (spec,)) is None
