"""Where a request leads, by the first bytes of it. Pure.

    GET /s3/voice/llm/a.safetensors HTTP/1.1
        └─ the path; that of an absolute form, http://cache:8080/s3/…, counts as well

Only the way is found here: whether the request is one is judged by whoever answers it.
"""

import re

MOST = 16 * 2**10  # bytes; a first line that has not come to its path by then leads nowhere

# RFC 9112, 2.2 and 3: empty lines, the method, one blank, the target.
_TARGET = re.compile(
    rb"(?:\r?\n)*[!-~]{1,64} (?:https?://[^/?# \r\n]*)?([^? \r\n]*)([? \r\n])?", re.IGNORECASE
)


def leads_under(prefix: bytes, data: bytes | bytearray) -> bool | None:
    """Return whether a request that begins with ``data`` asks for something under ``prefix``.

    None: that cannot be told, before more of it comes or at all.
    """
    found = _TARGET.match(data, 0, MOST)
    if found is None:
        return None
    path, ended = found.group(1), found.group(2) is not None
    if path.startswith(prefix + b"/") or (path == prefix and ended):
        return True
    may_become = prefix.startswith(path) or not path.startswith(b"/")  # "http:" so far
    return None if may_become and not ended else False
