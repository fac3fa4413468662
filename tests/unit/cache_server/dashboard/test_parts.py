import json

from cache_server.dashboard.parts import Part, changed, watch


def test_only_what_has_changed_is_sent():
    seen: dict[str, str] = {}
    assert [p.id for p in changed(seen, [Part("a", "1"), Part("b", "2")])] == ["a", "b"]
    assert [p.id for p in changed(seen, [Part("a", "1"), Part("b", "3")])] == ["b"]
    assert changed(seen, [Part("a", "1"), Part("b", "3")]) == []


def test_a_frame_is_sent_when_its_mark_changes_and_takes_along_what_stands_in_it():
    seen: dict[str, str] = {}

    def page(order, card):
        return [Part("cards", f"<{card}>", mark=order), Part("card-a", card, within="cards")]

    assert [p.id for p in changed(seen, page("a", "1"))] == ["cards"]
    assert [p.id for p in changed(seen, page("a", "2"))] == ["card-a"]
    assert [p.id for p in changed(seen, page("a b", "3"))] == ["cards"]


def test_a_stream_says_all_changes_of_a_look_at_once():
    looks = [[Part("a", "<p>é</p>")], [Part("a", "<p>é</p>")], [Part("a", "<p>\n</p>")]]
    look = watch(lambda: looks.pop(0))
    (first,) = look()
    assert (first.name, json.loads(first.data)) == ("parts", {"a": "<p>é</p>"})
    assert look() == []
    (last,) = look()
    assert "\n" not in last.data
