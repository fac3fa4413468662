"""Requests that take long and show no ticket, to have all answers of the node at once."""

import threading
from contextlib import ExitStack
from dataclasses import replace

from cache_server.data.request import RefusedError, Request
from tests.fakes.data_node import QUICK, data_node, settled
from tests.fakes.dialect import Reply, text
from tests.fakes.reader import target

FEW = replace(QUICK, active=4, strangers=2)


class Thinking:
    """A dialect that takes its time, and knows nobody."""

    prefix = "/s3"

    def __init__(self) -> None:
        self.done = threading.Event()

    def answer(self, _request: Request, _peer: str) -> Reply:
        assert self.done.wait(20)
        return text(403, "no")

    def refuse(self, refused: RefusedError) -> Reply:
        return text(refused.status, str(refused.error))


def test_answers_to_who_has_shown_no_ticket_leave_some_for_who_has(tmp_path):
    slow = Thinking()
    with data_node(tmp_path, FEW, dialect=slow) as node, ExitStack() as stack:
        node.shelf.add("a", b"weights")
        replica, *crowd = (stack.enter_context(node.connect()) for _ in range(1 + FEW.active))
        assert replica.get(target("a")).body == b"weights"
        few, more = crowd[: FEW.strangers], crowd[FEW.strangers :]
        for stranger in few:
            stranger.ask("/s3/a")
        assert settled(lambda: node.plane.stats.active == FEW.strangers)
        assert [stranger.get("/s3/a").status for stranger in more] == [429] * len(more)
        assert replica.get(target("a")).body == b"weights"
        slow.done.set()
        assert [stranger.reply().status for stranger in few] == [403] * len(few)


def test_who_shows_a_ticket_with_its_first_request_is_none_of_them(tmp_path):
    with data_node(tmp_path, FEW) as node, ExitStack() as stack:
        file = node.shelf.add("a", b"weights", present=set())
        running = node.plane._answers._running
        replicas = [stack.enter_context(node.connect()) for _ in range(FEW.active)]
        for number, replica in enumerate(replicas, 1):
            replica.ask(target("a"))
            assert settled(lambda n=number: [len(each) for each in running.values()] == [n])
        file.land(0)
        assert [replica.reply().body for replica in replicas] == [b"weights"] * FEW.active
