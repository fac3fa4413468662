"""Spoiled tickets: to read what was not signed, for longer, or for another tenant or node."""

from urllib.parse import parse_qs

from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import TicketError
from cache_protocol.tickets import KEY_SIZE, Key, Keys, check, sign
from tests.hostile.mutations import hunt, in_few_words, spoiled

NOW = 1_000_000
YOUNG, OLD = Key("k2", b"2" * KEY_SIZE), Key("k1", b"1" * KEY_SIZE)
KEYS = Keys("node-a", (YOUNG, OLD))
GONE = Keys("node-a", (Key("k0", b"0" * KEY_SIZE),))
OTHER = Keys("node-b", KEYS.keys)
PATHS = ["/files/g/m/a.safetensors", "/files/g/m/a", "/digests/g/m/a", "/files/h/m/a%0A1"]
PIECES = [
    *(b"&", b"=", b"%", b"%00", b"%0A", b"%26", b"%3D", b"+", b";", b"\n", b"\r\n", b"\x00", b"0"),
    *(
        b"expires=",
        b"key=",
        b"tenant=",
        b"ticket=",
        b"expires=9999999999",
        b"&ticket=x",
        b"-",
        b"_",
    ),
    *("٣".encode(), b"\xff", b"%D9%A3", b"k1", b"k0", b"default", b"other", b"a" * 64, b"&" * 20),
]
SIGNED = {
    (path, tenant, expires, key.id): sign(Keys("node-a", (key,)), tenant, path, expires)
    for path in PATHS
    for tenant in ("default", "other")
    for expires in (NOW - 1, NOW, NOW + 1, NOW + 900)
    for key in (YOUNG, OLD)
}
FOREIGN = [
    sign(keys, tenant, path, NOW + 900)
    for keys in (GONE, OTHER)
    for tenant in ("default", "other")
    for path in PATHS
]


def opened(path: str, query: str) -> None:
    """Whatever is sent: it opens what was signed with these very words, or nothing."""
    try:
        ticket = check(KEYS, path, query, NOW)
    except TicketError as error:
        if not in_few_words(error):
            raise
        return
    fields = parse_qs(query)
    signed = SIGNED[path, ticket.tenant, ticket.expires, fields["key"][0]]
    assert ticket.expires > NOW
    assert all(fields[name] == values for name, values in parse_qs(signed).items())


def as_text(data: bytes) -> str:
    return data.decode("latin-1")


def test_what_the_fuzzers_begin_with_opens_its_path():
    for (path, tenant, expires, _), query in SIGNED.items():
        if expires > NOW:
            assert check(KEYS, path, query, NOW).tenant == tenant


@st.composite
def near_tickets(draw: st.DrawFn) -> tuple[str, str]:
    """Return a signed query, a little spoiled, with its path or another one."""
    (path, *_), query = draw(st.sampled_from(list(SIGNED.items())))
    path = draw(st.sampled_from([path, path, path, *PATHS]))
    return path, as_text(draw(spoiled(query.encode(), PIECES, most=2)))


@hunt(1000)
@given(near_tickets())
def test_a_spoiled_ticket_opens_what_was_signed_or_nothing(near):
    opened(*near)


@st.composite
def patched_tickets(draw: st.DrawFn) -> tuple[str, str]:
    """Return the fields of two tickets mixed, in any order, some of them twice or missing."""
    two = st.sampled_from([*SIGNED.values(), *FOREIGN])
    fields = [field for _ in range(2) for field in draw(two).split("&")]
    mixed = draw(st.lists(st.sampled_from(fields), min_size=3, max_size=6))
    return draw(st.sampled_from(PATHS)), "&".join(mixed)


@hunt(1000)
@given(patched_tickets())
def test_parts_of_several_tickets_open_what_was_signed_or_nothing(patched):
    opened(*patched)


@hunt(300)
@given(st.text(), st.text())
def test_any_text_is_no_ticket(path, query):
    opened(path, query)
