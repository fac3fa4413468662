import pytest

from cache_protocol.errors import OriginDeniedError
from cache_server.core.content import ModelSpec
from cache_server.core.slots import SlotState
from cache_server.dashboard.listing import PAGE, Only, Query, Sort, select
from tests.fakes.glances import NOW, failed, filling, glance


def names(glances, **query):
    return [g.key.id for g in select(glances, Query(**query)).shown]


VOICE = glance(
    "voice", SlotState.WARM, pinned=True, size=5, models=(ModelSpec("asr", "hf://openai/whisper"),)
)
CHAT = glance("chat", size=9, models=(ModelSpec("llm", "s3://weights/Llama"),), tenant="other")
MUSIC = glance("music", SlotState.FILLING, fill=filling(1), size=7)
SOME = [VOICE, CHAT, MUSIC]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("VOI", ["voice"]),
        ("whisper", ["voice"]),
        ("llm", ["chat"]),
        ("other", ["chat"]),
        ("weights llama", ["chat"]),
        ("whisper llama", []),
        ("", ["chat", "music", "voice"]),
    ],
)
def test_every_word_has_to_be_in_a_name_a_model_or_a_source(text, found):
    assert names(SOME, text=text, sort=Sort.NAME) == found


@pytest.mark.parametrize(
    ("only", "found"),
    [
        (Only.WARM, ["voice"]),
        (Only.FILLING, ["music"]),
        (Only.COLD, ["chat"]),
        (Only.PINNED, ["voice"]),
        (Only.HOT, []),
    ],
)
def test_a_list_can_be_narrowed(only, found):
    assert names(SOME, only=only) == found


def test_counts_are_of_what_fits_the_text_whatever_else_is_chosen():
    listing = select(SOME, Query(text="weights", only=Only.WARM))
    assert (listing.found, listing.counts[Only.ALL], listing.counts[Only.WARM]) == (0, 1, 0)


def test_what_happens_now_comes_first_then_what_went_wrong_then_what_was_asked_for_last():
    early = glance("early", asked=NOW.replace(hour=1))
    late = glance("late", asked=NOW)
    wrong = glance("wrong", error=failed(OriginDeniedError("no")))
    assert names([early, late, wrong, MUSIC]) == ["music", "wrong", "late", "early"]


def test_the_largest_come_first_by_size():
    assert names(SOME, sort=Sort.SIZE) == ["chat", "music", "voice"]


def test_a_page_beyond_the_end_is_the_last_one():
    many = [glance(f"p{n:03}") for n in range(PAGE + 3)]
    listing = select(many, Query(sort=Sort.NAME, page=99))
    assert (listing.page, listing.pages, len(listing.shown)) == (2, 2, 3)


def test_no_pipelines_are_one_empty_page():
    assert (select([], Query()).page, select([], Query()).pages) == (1, 1)


def test_a_link_keeps_what_was_chosen_and_goes_back_to_the_first_page():
    query = Query(text="a b&c", only=Only.HOT, page=3)
    assert query.link(sort=Sort.SIZE) == "?q=a+b%26c&only=hot&sort=size"
    assert query.link(page=4) == "?q=a+b%26c&only=hot&page=4"
    assert Query().link() == "?"
    assert Query(tenant="safety").link(page=2) == "?page=2&tenant=safety"
