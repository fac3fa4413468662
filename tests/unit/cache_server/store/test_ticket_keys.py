import pytest

from cache_protocol.errors import DiskError, TicketError
from cache_protocol.tickets import check, sign
from cache_server.core.key_ring import LONGEST_LIFE, MAX_AGE
from cache_server.store.ticket_keys import NAME, TicketKeys

PATH = "/files/g/m/a"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def query(keys: TicketKeys, clock: Clock) -> str:
    return sign(keys(), "default", PATH, int(clock.now) + LONGEST_LIFE)


def test_keys_outlive_a_restart(tmp_path, clock):
    given = query(TicketKeys(tmp_path, clock), clock)
    check(TicketKeys(tmp_path, clock)(), PATH, given, clock.now)


def test_the_ring_is_for_its_owner_alone(tmp_path):
    TicketKeys(tmp_path)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_two_nodes_share_neither_keys_nor_name(tmp_path):
    one, two = (TicketKeys(tmp_path / name)() for name in _made(tmp_path, "one", "two"))
    assert one.node != two.node
    assert {k.secret for k in one.keys}.isdisjoint(k.secret for k in two.keys)


def _made(parent, *names):
    for name in names:
        (parent / name).mkdir()
    return names


def test_an_url_that_was_given_out_before_a_rotation_is_still_good(tmp_path, clock):
    keys = TicketKeys(tmp_path, clock)
    given = query(keys, clock)
    keys.rotate()
    check(keys(), PATH, given, clock.now)
    assert given.split("&")[1] != query(keys, clock).split("&")[1]


def test_a_rotation_outlives_a_restart(tmp_path, clock):
    keys = TicketKeys(tmp_path, clock)
    keys.rotate()
    assert TicketKeys(tmp_path, clock)() == keys()


def test_with_revoke_no_url_that_was_given_out_is_good(tmp_path, clock):
    keys = TicketKeys(tmp_path, clock)
    given = query(keys, clock)
    keys.rotate(revoke=True)
    with pytest.raises(TicketError, match="given up"):
        check(keys(), PATH, given, clock.now)


def test_a_key_is_replaced_when_it_is_a_day_old_and_forgotten_a_ticket_later(tmp_path, clock):
    keys = TicketKeys(tmp_path, clock)
    first = keys().keys[0]
    clock.now += MAX_AGE - 1
    keys.keep_fresh()
    assert keys().keys == (first,)
    clock.now += 1
    keys.keep_fresh()
    second = keys().keys[0]
    assert keys().keys == (second, first)
    clock.now += LONGEST_LIFE
    keys.keep_fresh()
    assert keys().keys == TicketKeys(tmp_path, clock)().keys == (second,)


def test_a_rotation_that_the_disk_refuses_changes_nothing(tmp_path, clock, monkeypatch):
    keys = TicketKeys(tmp_path, clock)
    before = keys()

    def refuse(*_args):
        raise DiskError("no")

    monkeypatch.setattr("cache_server.store.ticket_keys.write_json", refuse)
    with pytest.raises(DiskError):
        keys.rotate()
    assert keys() is before


@pytest.mark.parametrize("text", ["", "{}", '{"node": "n", "keys": []}', "[1]", '{"keys": 5}'])
def test_a_file_that_is_no_ring_is_an_error_that_says_what_to_do(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(DiskError, match="delete it"):
        TicketKeys(tmp_path)
