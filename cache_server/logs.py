"""How the node writes its log: one JSON object per line for machines, or lines for people.

Everything logs through ``logging``; this alone decides how it looks. Each line carries the id of
the request that it is about, if there is one.
"""

import logging
from typing import TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from cache_server.core.tracing import request_id
from cache_server.settings import LogFormat


def write_logs(to: TextIO, form: LogFormat, level: str) -> None:
    """Write what is logged in this process at ``level`` and above."""
    on_terminal = to.isatty()
    if form is LogFormat.AUTO:
        form = LogFormat.CONSOLE if on_terminal else LogFormat.JSON
    handler = logging.StreamHandler(to)
    handler.setFormatter(_formatter(form, colors=on_terminal))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())


def _formatter(form: LogFormat, *, colors: bool) -> logging.Formatter:
    common: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_request_id,
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=common,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_renderers(form, colors=colors),
        ],
    )


def _renderers(form: LogFormat, *, colors: bool) -> list[structlog.typing.Processor]:
    if form is LogFormat.JSON:
        return [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            _put_first,
            structlog.processors.JSONRenderer(),
        ]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]


def _add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if (name := request_id.get()) is not None:
        event["request_id"] = name
    return event


def _put_first(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Begin each object with what an eye looks for when it runs down many of them."""
    return {**{name: event[name] for name in ("timestamp", "level", "message")}, **event}
