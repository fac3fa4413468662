import errno
import json
import os
import socket
from http.client import BadStatusLine, IncompleteRead, LineTooLong, RemoteDisconnected

import pytest

from replica_agent.reasons import reason


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "Too many open files"),
        (TimeoutError("timed out"), "no answer came in time"),
        (TimeoutError(), "no answer came in time"),
        (OSError("the client was closed"), "the client was closed"),
        (RemoteDisconnected("Remote end …"), "the connection was closed before an answer came"),
        (IncompleteRead(b"abc", 7), "the answer ended after 3 of 10 bytes"),
        (IncompleteRead(b"abc"), "the answer ended after 3 bytes"),
        (BadStatusLine("\x1b[2J"), r"the answer is not HTTP: '\x1b[2J'"),
        (LineTooLong("header line"), "got more than 65536 bytes when reading header line"),
        (KeyError("data"), "'data'"),
        (ValueError(), "ValueError"),
        (ValueError("a\nb"), "ValueError"),
    ],
)
def test_a_failure_is_told_in_words(error, words):
    assert reason(error) == words


def test_a_parsers_complaint_is_told_as_it_is():
    with pytest.raises(ValueError, match="Expecting value") as caught:
        json.loads("<html>")
    assert reason(caught.value) == "Expecting value: line 1 column 1 (char 0)"
