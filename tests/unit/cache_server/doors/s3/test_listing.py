"""Pages of names: against a slow and plain model of S3's rules, and against boto3's parsers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_server.catalogue.registry import Key
from cache_server.doors.s3.listing import Question, after_token, most_of, page_of, token_after
from cache_server.doors.s3.refusals import Code, S3Error
from tests.fakes.s3_door import Door

NAMES = st.text("ab/\u00e9\uffff\U0010ffff", min_size=1, max_size=6)


def everything(keys: list[str], prefix: str, delimiter: str) -> list[tuple[str, bool]]:
    """Return what a listing shows in all: names, and whether they are common prefixes."""
    shown: dict[tuple[str, bool], None] = {}
    for key in sorted(keys, key=str.encode):
        if not key.startswith(prefix):
            continue
        rest = key[len(prefix) :]
        if delimiter and delimiter in rest:
            shown[prefix + rest.partition(delimiter)[0] + delimiter, True] = None
        else:
            shown[key, False] = None
    return list(shown)


def walked(keys: list[str], prefix: str, delimiter: str, most: int) -> list[tuple[str, bool]]:
    """Return what all pages together show, as a client turns them."""
    shown, after = [], ""
    while True:
        page = page_of(sorted(keys), Question(prefix, delimiter, after, most))
        names = [(n, False) for n in page.keys] + [(n, True) for n in page.prefixes]
        assert len(names) <= most
        shown += sorted(names, key=lambda each: each[0].encode())
        if not page.truncated:
            return shown
        assert names, "a page that is not the last shows something"
        after = after_token(token_after(page.last))


@given(
    keys=st.lists(NAMES, max_size=12, unique=True),
    prefix=st.text("ab/", max_size=2),
    delimiter=st.sampled_from(["", "/", "a", "//"]),
    most=st.integers(1, 5),
)
def test_pages_show_everything_once_and_in_order(keys, prefix, delimiter, most):
    assert walked(keys, prefix, delimiter, most) == everything(keys, prefix, delimiter)


@given(st.lists(NAMES, max_size=12, unique=True), NAMES)
def test_a_listing_starts_after_the_key_that_it_is_told(keys, after):
    shown = page_of(sorted(keys), Question(after=after)).keys
    assert list(shown) == [key for key in sorted(keys) if key > after]


def test_names_that_lie_below_one_prefix_cost_one_look():
    class Counting(list):
        looks = 0

        def __getitem__(self, index):
            Counting.looks += 1
            return super().__getitem__(index)

    keys = Counting(sorted(f"m/{n:06}" for n in range(100_000)))
    page = page_of(keys, Question(delimiter="/"))
    assert page.prefixes == ("m/",)
    assert Counting.looks < 100


def test_a_page_that_may_hold_nothing_is_the_last():
    assert page_of(["a"], Question(most=0)).truncated is False


@pytest.mark.parametrize("token", ["", "no", "%%%", "4pyT4pyT=", "AAAA\u00e9", "//79", " YQ=="])
def test_a_token_that_nobody_gave_is_refused(token):
    with pytest.raises(S3Error) as refused:
        after_token(token)
    assert refused.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("text", ["-1", "1e3", "", "\u0661", "99999999999", "2147483648", "0x1"])
def test_a_length_that_is_no_number_is_refused(text):
    with pytest.raises(S3Error) as refused:
        most_of(text)
    assert refused.value.code is Code.INVALID_ARGUMENT


def test_a_page_is_never_longer_than_a_thousand():
    assert most_of("5000") == 1000


# As boto3 reads them.

ODD = "m/ü +%&<>\"'/é\U0001f600.bin"


@pytest.fixture
def door():
    door = Door()
    door.stock.put({f"llm/{n:04}.bin": n for n in range(2500)} | {"asr/config.json": 1, ODD: 7})
    return door


@pytest.mark.parametrize("operation", ["list_objects_v2", "list_objects"])
def test_boto3_turns_all_pages(door, operation):
    pages = door.client().get_paginator(operation).paginate(Bucket="voice", Prefix="llm/")
    found = [each for page in pages for each in page["Contents"]]
    assert [each["Key"] for each in found] == [f"llm/{n:04}.bin" for n in range(2500)]
    assert [each["Size"] for each in found] == list(range(2500))
    assert len({each["ETag"] for each in found}) == 2500


@pytest.mark.parametrize("operation", ["list_objects_v2", "list_objects"])
def test_boto3_sees_models_as_directories(door, operation):
    page = getattr(door.client(), operation)(Bucket="voice", Delimiter="/", MaxKeys=2)
    assert [each["Prefix"] for each in page["CommonPrefixes"]] == ["asr/", "llm/"]
    assert "Contents" not in page
    assert page["IsTruncated"] is True


@pytest.mark.parametrize("encoding", [{}, {"EncodingType": "url"}])
def test_boto3_reads_a_name_with_every_odd_character(door, encoding):
    page = door.client().list_objects_v2(Bucket="voice", Prefix="m/", **encoding)
    (found,) = page["Contents"]
    assert found["Size"] == 7
    if not encoding:  # boto3 asks for the encoding by itself, and undoes it then
        assert found["Key"] == ODD


def test_a_client_that_wants_no_encoding_gets_the_name_as_it_is(door):
    door.stock.put({"m/a&b<c>\r\n": 1})  # no such name gets on the disk, and XML could not lose it
    body = door.ask("/voice?list-type=2").body.decode()
    assert "<Key>m/a&amp;b&lt;c&gt;&#13;\n</Key>" in body
    assert "EncodingType" not in body


def test_a_listing_says_what_it_was_asked(door):
    page = door.client().list_objects_v2(
        Bucket="voice", Prefix="l m", Delimiter="/", StartAfter="a+", MaxKeys=5, FetchOwner=True
    )
    echoed = {name: page[name] for name in ("Prefix", "Delimiter", "StartAfter", "MaxKeys")}
    assert echoed == {"Prefix": "l m", "Delimiter": "/", "StartAfter": "a+", "MaxKeys": 5}
    assert (page["KeyCount"], page["Name"]) == (0, "voice")


def test_buckets_are_listed_by_the_page(door):
    for n in range(5):
        door.stock.put({"m/a": 1}, key=Key("default", f"p{n}"))
    pages = door.client().get_paginator("list_buckets")
    found = [
        bucket["Name"]
        for page in pages.paginate(PaginationConfig={"PageSize": 2})
        for bucket in page["Buckets"]
    ]
    assert found == ["p0", "p1", "p2", "p3", "p4", "voice"]
