import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.discretion import HEAD, INSTEAD, redacted

TOKEN = "hf_planted/secret+0123456789"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"token {TOKEN} is not known", f"token {INSTEAD} is not known"),
        (f"{TOKEN}{TOKEN}", INSTEAD * 2),
        ("?token=hf_planted%2Fsecret%2B0123456789&x=1", f"?token={INSTEAD}&x=1"),
        ("cut off: hf_planted/sec", f"cut off: {INSTEAD}"),
        ("cut off: hf_plant, HTTP 500", f"cut off: {INSTEAD}, HTTP 500"),
        ("hf_other is another one", "hf_other is another one"),
        ("", ""),
    ],
)
def test_a_secret_is_taken_out_of_what_somebody_says(said, shown):
    assert redacted(said, [TOKEN]) == shown


def test_a_secret_that_is_empty_takes_nothing_out():
    assert redacted("words", ["", "other"]) == "words"


@given(st.text(max_size=30), st.text(alphabet="abc/+", min_size=HEAD, max_size=20), st.text())
def test_whatever_stands_around_a_secret_its_text_is_gone(before, secret, after):
    assert secret not in redacted(before + secret + after, [secret])
