"""How a line of the log looks."""

import io
import json
import logging

import pytest

from cache_server.core.tracing import request_id
from cache_server.logs import write_logs
from cache_server.settings import LogFormat

log = logging.getLogger("cache_server.somewhere")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    before = request_id.set(None)  # other tests of this process answered requests in this thread
    yield
    request_id.reset(before)
    root.handlers[:] = handlers
    root.setLevel(level)


def written(form=LogFormat.JSON, level="info", to=None):
    to = to or io.StringIO()
    write_logs(to, form, level)
    return to


def test_a_line_is_an_object_that_says_when_where_how_bad_and_what():
    to = written()
    log.warning("%d files of %s", 3, "voice", extra={"status": 503})
    line = json.loads(to.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "message": "3 files of voice",
        "level": "warning",
        "logger": "cache_server.somewhere",
        "status": 503,
    }


def test_a_line_says_for_which_request_it_is():
    to, token = written(), request_id.set("abc")
    log.info("x")
    request_id.reset(token)
    log.info("y")
    first, second = map(json.loads, to.getvalue().splitlines())
    assert first["request_id"] == "abc"
    assert "request_id" not in second


def test_what_holds_line_breaks_is_one_line():
    to = written()
    log.info("one\ntwo\r\n%s", '{"message": "forged"}\n')
    assert json.loads(to.getvalue())["message"].startswith("one\ntwo")
    assert to.getvalue().count("\n") == 1


def test_a_traceback_is_a_field_of_its_line():
    to = written()
    try:
        int("bug")
    except ValueError:
        log.exception("it broke")
    line = json.loads(to.getvalue())
    assert (line["message"], "ValueError: invalid" in line["exception"]) == ("it broke", True)


def test_below_the_level_nothing_is_written():
    to = written(level="warning")
    log.info("x")
    assert to.getvalue() == ""


def test_on_a_terminal_people_read_it_elsewhere_machines_do():
    terminal = written(LogFormat.AUTO, to=Terminal())
    log.info("hello")
    assert "hello" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    file = written(LogFormat.AUTO)
    log.info("hello")
    assert json.loads(file.getvalue())["message"] == "hello"


def test_lines_for_people_have_no_colours_where_there_is_no_terminal():
    to = written(LogFormat.CONSOLE)
    log.info("hello", extra={"status": 200})
    assert "\x1b" not in to.getvalue()
    assert "status=200" in to.getvalue()


def test_bytes_that_are_no_text_do_not_break_the_log():
    to = written()
    log.info("file %s", b"\xff".decode(errors="surrogateescape"))
    assert json.loads(to.getvalue())["message"].startswith("file ")
