import pytest

from cache_protocol import errors
from cache_protocol.errors import CacheError, to_problem
from cache_server.fill.fill import FillStoppedError
from cache_server.http.problems import STATUS, answer, status_of


def every(kind: type[CacheError]) -> list[type[CacheError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in every(child))]


IN_PROTOCOL = [k for k in every(CacheError) if k.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", IN_PROTOCOL, ids=lambda k: k.__name__)
def test_every_error_of_the_protocol_has_a_row_of_its_own(kind):
    assert kind in STATUS


@pytest.mark.parametrize("kind", IN_PROTOCOL, ids=lambda k: k.__name__)
def test_an_error_is_a_problem_document_with_its_code_and_retry(kind):
    response = answer(kind("why"))
    problem = to_problem(kind("why"), STATUS[kind])
    assert response.status_code == STATUS[kind]
    assert response.media_type == "application/problem+json"
    assert (problem["code"], problem["detail"]) == (kind.code, "why")
    assert problem["retry"] in ("never", "later", "now")


def test_an_error_without_a_row_takes_that_of_its_nearest_class():
    assert status_of(FillStoppedError("stop")) == STATUS[errors.BusyError]


def test_what_helps_later_says_when():
    assert "retry-after" in answer(errors.CapacityError("full")).headers
    assert "retry-after" not in answer(errors.MalformedError("no")).headers


def test_who_has_no_token_is_told_what_kind_is_wanted():
    assert answer(errors.UnauthorizedError("no")).headers["www-authenticate"] == "Bearer"
