"""Ask the engine whether it is ready, and send it one small request when it is.

Knows HTTP, and of the OpenAI API as much as one completion needs. Never raises because of what
an engine answers: an engine that cannot be watched still runs.
"""

import http.client
import json
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from replica_agent.reasons import reason

ANSWER = 5.0  # seconds that the engine may take to say how it is
WARM_UP = 300.0  # seconds that a first request may take: it may compile
_JSON = {"Content-Type": "application/json"}
_TROUBLE = (OSError, http.client.HTTPException, ValueError, LookupError, TypeError)


class WarmUp(NamedTuple):
    """What the first request took."""

    began: float  # ``time.monotonic()``
    first_token: float  # seconds
    seconds: float


def warm_up(health_url: str) -> WarmUp | str:
    """Have the engine at ``health_url`` complete one token; return why where it does not."""
    place = urlsplit(health_url)
    connection = http.client.HTTPConnection(place.netloc, timeout=WARM_UP)
    try:
        connection.request("GET", "/v1/models")
        model = json.loads(connection.getresponse().read())["data"][0]["id"]
        return _complete(connection, model)
    except _TROUBLE as error:
        return f"the warm-up request failed: {reason(error)}"
    finally:
        connection.close()


def _complete(connection: http.client.HTTPConnection, model: str) -> WarmUp | str:
    words = {"model": model, "prompt": "Hello", "max_tokens": 1, "stream": True}
    began = time.monotonic()
    connection.request("POST", "/v1/completions", json.dumps(words), _JSON)
    answer = connection.getresponse()
    answer.readline()  # the first event carries the first token
    first = time.monotonic() - began
    answer.read()
    if answer.status != 200:
        return f"the warm-up request was answered with {answer.status}"
    return WarmUp(began, first, time.monotonic() - began)


def is_healthy(url: str) -> bool:
    """Return whether ``url`` answers 200 now."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.netloc, timeout=ANSWER)
    try:
        connection.request("GET", place.path or "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False  # it is not up yet
    finally:
        connection.close()
