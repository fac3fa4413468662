"""``cache-server tickets`` as it is typed, against a control plane over a real socket."""

import json


def test_a_rotation_says_what_is_still_accepted(node):
    assert "1 older, until their tickets run out" in node("tickets", "rotate")[1]
    assert "no older key" in node("tickets", "rotate", "--revoke")[1]


def test_a_program_gets_the_keys_names(node):
    answer = json.loads(node("tickets", "rotate", "--json")[1])
    assert answer["accepted"][0] == answer["key"]
