import re

from hypothesis import given
from hypothesis import strategies as st

from cache_server.core.hub_tokens import MAX, from_hub, hub_spelling

OURS = "wl_0123456789abcdef_aB-_" + "x" * 39


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=17, max_size=120))
def test_a_token_survives_its_spelling(token):
    assert from_hub(hub_spelling(token)) == token


def test_the_spelling_is_one_that_llama_cpp_takes():
    assert re.fullmatch(r"hf_[A-Za-z0-9]{34,253}", hub_spelling(OURS))
    assert len(hub_spelling(OURS)) <= MAX


@given(st.text())
def test_whatever_else_is_sent_stays_what_it_is(text):
    assert from_hub(text) == text or text.startswith("hf_")


def test_the_hub_s_own_tokens_and_broken_spellings_spell_nothing():
    for text in ("hf_", "hf_abc", "hf_valid", "hf_ffff", "hf_" + "61" * 200, OURS):
        assert from_hub(text) in (text, "")
