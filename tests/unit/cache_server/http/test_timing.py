import asyncio

import pytest

from cache_server.http.timing import Timing

PAUSE = 0.05  # seconds


class Times:
    def __init__(self):
        self.seen = []

    def observe(self, method, route, status, seconds):
        self.seen.append((method, status, seconds))


@pytest.mark.parametrize(
    ("media_type", "is_slow"), [(b"text/event-stream; charset=utf-8", False), (b"text/html", True)]
)
def test_a_stream_that_goes_on_is_not_a_slow_answer(media_type, is_slow):
    async def app(_scope, _receive, send):
        headers = [(b"content-type", media_type)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await asyncio.sleep(PAUSE)
        await send({"type": "http.response.body", "body": b""})

    async def send(_message):
        pass

    times = Times()
    asyncio.run(Timing(app, times)({"type": "http", "method": "GET", "headers": []}, None, send))
    ((method, status, seconds),) = times.seen
    assert (method, status) == ("GET", 200)
    assert (seconds >= PAUSE) is is_slow
