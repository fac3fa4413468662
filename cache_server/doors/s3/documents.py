"""XML documents of S3, written by hand: they are flat, and a library would be slower. Pure."""

import re
from collections.abc import Iterable
from datetime import datetime
from xml.sax.saxutils import escape

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
# What XML 1.0 (section 2.2) has no way to write; names with these are asked for url-encoded.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

Child = tuple[str, "str | int | bool | Iterable[Child]"]


def document(name: str, children: Iterable[Child], *, namespace: str = NAMESPACE) -> bytes:
    """Return the document with root ``name``; a child is a name with text or with children."""
    space = f' xmlns="{namespace}"' if namespace else ""
    return f"{HEAD}<{name}{space}>{_inside(children)}</{name}>".encode()


def error_document(code: str, message: str, details: Iterable[Child]) -> bytes:
    """Return what says why a request was refused; it has no namespace, as S3's has none."""
    return document("Error", [("Code", code), ("Message", message), *details], namespace="")


def instant(moment: datetime) -> str:
    """Return ``moment``, in UTC, as documents have it: to the millisecond."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def _inside(children: Iterable[Child]) -> str:
    return "".join(f"<{name}>{_content(value)}</{name}>" for name, value in children)


def _content(value: "str | int | bool | Iterable[Child]") -> str:
    if isinstance(value, str):
        # A parser would turn a bare carriage return into a line feed.
        return escape(_UNWRITABLE.sub("\ufffd", value), {"\r": "&#13;"})
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _inside(value)
