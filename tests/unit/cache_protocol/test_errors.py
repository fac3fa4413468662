import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol import errors
from cache_protocol.errors import (
    CacheError,
    OriginDeniedError,
    OriginError,
    OriginUnavailableError,
    Retry,
    from_problem,
    to_problem,
)


def tree(root: type[CacheError] = CacheError) -> Iterator[type[CacheError]]:
    if root.__module__ == errors.__name__:
        yield root
    for child in root.__subclasses__():
        yield from tree(child)


TREE = list(tree())


@given(st.sampled_from(TREE), st.text(min_size=1))
def test_every_error_is_the_same_error_at_the_other_end(kind: type[CacheError], detail: str):
    document = json.loads(json.dumps(to_problem(kind(detail), 500)))
    back = from_problem(document)
    assert type(back) is kind
    assert str(back) == detail


def test_codes_are_unique():
    assert len({kind.code for kind in TREE}) == len(TREE)


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_has_its_own_words_for_itself(kind: type[CacheError]):
    assert {"code", "title"} <= vars(kind).keys()
    assert kind.__name__ in str(errors.__doc__)
    assert kind.__doc__


def test_a_problem_document_has_the_fields_of_rfc_9457_and_ours():
    assert to_problem(OriginDeniedError("org/llm is gated"), 502) == {
        "type": "urn:warmline:origin-denied",
        "title": "The origin refuses access",
        "status": 502,
        "detail": "org/llm is gated",
        "code": "origin-denied",
        "retry": "never",
    }


def test_an_unknown_code_of_a_newer_node_is_a_plain_error_with_its_detail():
    error = from_problem({"code": "tomorrow", "detail": "3 of 3 used"})
    assert type(error) is CacheError
    assert str(error) == "3 of 3 used"


@pytest.mark.parametrize("problem", [{}, {"code": None}, {"code": ["x"], "detail": ""}])
def test_a_problem_without_words_still_is_an_error_with_words(problem: dict[str, object]):
    assert str(from_problem(problem)) == "no detail was given"


def test_the_title_stands_in_for_a_missing_detail():
    assert str(from_problem({"title": "Bad Gateway"})) == "Bad Gateway"


def test_the_failures_of_an_origin_can_be_caught_as_one():
    assert sorted(kind.code for kind in OriginError.__subclasses__()) == [
        "origin-changed",
        "origin-denied",
        "origin-not-found",
        "origin-unavailable",
        "unsafe-content",
    ]


def test_an_origin_may_say_when_to_come_back():
    assert OriginUnavailableError("503").retry_after is None
    assert OriginUnavailableError("503", retry_after=2.5).retry_after == 2.5


def test_retry_is_written_as_the_contract_has_it():
    assert [r.value for r in Retry] == ["never", "later", "now"]
