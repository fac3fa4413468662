import pytest

from cache_server.core.access import Identity, Role
from cache_server.http.sessions import LIFE, Sessions

ANN = Identity("abc123", "default", Role.DEPLOYER)


class Time:
    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def known():
    return {ANN.id: ANN}


@pytest.fixture
def sessions(time, known):
    return Sessions(b"k" * 32, known.get, time)


def test_a_session_is_of_who_opened_it(sessions):
    assert sessions.of(sessions.open(ANN)) == ANN


def test_a_session_holds_no_more_than_the_id_of_a_token(sessions):
    assert sessions.open(ANN).split(".")[:3] == ["v1", "abc123", str(1000 + LIFE)]


def test_a_session_ends_with_its_token(sessions, known):
    cookie = sessions.open(ANN)
    known.clear()
    assert sessions.of(cookie) is None


def test_a_session_runs_out(sessions, time):
    cookie = sessions.open(ANN)
    time.seconds += LIFE - 1
    assert sessions.of(cookie) == ANN
    time.seconds += 1
    assert sessions.of(cookie) is None


def test_another_key_knows_no_session(sessions, time, known):
    assert Sessions(b"x" * 32, known.get, time).of(sessions.open(ANN)) is None


@pytest.mark.parametrize("end", range(0, 70, 3))
def test_a_cookie_that_is_changed_anywhere_is_nobodys(sessions, end):
    cookie = sessions.open(ANN)
    if end < len(cookie):
        other = "A" if cookie[end] != "A" else "B"
        assert sessions.of(cookie[:end] + other + cookie[end + 1 :]) is None
        assert sessions.of(cookie[:end]) is None


@pytest.mark.parametrize(
    "cookie", ["", ".", "...", "v1.abc123.9999999999.", "\udcff.é", "x" * 5000]
)
def test_what_is_no_cookie_of_ours_is_nobodys(sessions, cookie):
    assert sessions.of(cookie.encode(errors="replace").decode()) is None


def test_a_proof_is_of_one_session_and_cannot_be_taken_for_one(sessions):
    cookie = sessions.open(ANN)
    proof = sessions.proof(cookie)
    assert sessions.is_proof(proof, cookie)
    assert not sessions.is_proof(proof, sessions.open(ANN) + "x")
    assert not sessions.is_proof("", cookie)
    assert sessions.of(f"{cookie.rpartition('.')[0]}.{proof}") is None
