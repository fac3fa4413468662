"""Somebody tries signatures, or ids of keys, by the thousand."""

from tests.fakes.s3_door import Door, as_request, code


def guess(door: Door, key: str, peer: str):
    request = door.signed("/voice", key=key, secret="a guess")
    return door.answer(type(request)("GET", request.path, "", request.fields, peer))


def test_who_guesses_is_made_to_wait_and_who_knows_is_not():
    door = Door()
    said = [code(guess(door, "ours", "198.51.100.1")) for _ in range(25)]
    assert said == ["SignatureDoesNotMatch"] * 20 + ["SlowDown"] * 5
    good = door.signed("/voice")
    assert door.answer(type(good)("GET", good.path, "", good.fields, "198.51.100.1")).status == 200
    assert code(guess(door, "ours", "198.51.100.2")) == "SignatureDoesNotMatch"


def test_ids_of_keys_count_as_guesses_too():
    door = Door()
    said = [code(guess(door, f"nobody{n}", "198.51.100.1")) for n in range(21)]
    assert said == ["InvalidAccessKeyId"] * 20 + ["SlowDown"]
    assert door.attempts.total == 21


def test_what_does_not_even_claim_a_key_is_no_guess():
    door = Door()
    for _ in range(30):
        request = as_request(_Unsigned())
        assert code(door.answer(request)) == "AccessDenied"
    assert door.attempts.total == 0


class _Unsigned:
    method, url, headers = "GET", "http://cache:8080/s3/voice", {}
