"""A hub whose listing always names a next page: with files without end, or with none at all."""

import itertools
import re

import pytest

from cache_protocol.errors import MalformedError, OriginUnavailableError
from cache_server.origins import question
from tests.fakes.hub_peer import listed_by, rows
from tests.fakes.peer import reply


def next_page(head: str) -> str:
    host = re.search(r"(?i)^host: (.*?)\r?$", head, re.MULTILINE)[1]
    return f'<http://{host}/api/models/org/name/tree/next>; rel="next"'


def test_files_without_end_are_refused(monkeypatch):
    monkeypatch.setattr(question, "MAX_LISTED", 5000)
    starts = itertools.count(0, 1000)

    def tree(head, sock):
        sock.sendall(reply(rows(1000, next(starts)), Link=next_page(head)))

    with listed_by(tree) as origin, pytest.raises(MalformedError, match="more than 5000 files"):
        origin.resolve()


def test_empty_pages_without_end_are_given_up_in_time(monkeypatch):
    monkeypatch.setattr(question, "LONGEST", 0.3)

    def tree(head, sock):
        sock.sendall(reply(b"[]", Link=next_page(head)))

    with listed_by(tree) as origin, pytest.raises(OriginUnavailableError, match="not whole after"):
        origin.resolve()
