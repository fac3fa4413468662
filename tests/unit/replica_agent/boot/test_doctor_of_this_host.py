"""What the doctor says of the way of the bytes; none of it keeps a boot from the cache."""

import pytest

from replica_agent.boot.doctor import examine
from replica_agent.settings import Settings
from tests.fakes.lender import Lender

NOWHERE = "http://127.0.0.1:1"


def said(wish: str) -> str:
    findings = examine(Settings(NOWHERE, local_socket=wish), "voice", ()).findings
    (found,) = [f for f in findings if f.question == "bytes"]
    assert found.good
    return found.answer


@pytest.mark.parametrize(
    ("wish", "words"), [("off", "over the network"), ("auto", "where it runs on this host")]
)
def test_the_setting_is_said(wish, words):
    assert words in said(wish)


def test_a_socket_that_is_there_is_tried(tmp_path):
    with Lender(tmp_path, {}) as lender:
        assert said(str(lender.path)) == f"of the node's own files, lent at {lender.path}"


def test_a_socket_that_is_not_is_named_with_its_reason(tmp_path):
    assert "No such file or directory" in said(str(tmp_path / "nothing"))
