"""A real Chromium, headless, and pages of a real service.

The browser lives as long as a module: while it runs, its event loop is that of this thread,
and tests elsewhere start loops of their own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from cache_server.catalogue.boots import Boots
from cache_server.catalogue.registry import Key
from cache_server.dashboard.front import dashboard
from cache_server.http.streams import RHYTHM
from tests.fakes.control_plane import TOKEN, control_plane
from tests.fakes.glances import report
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, chunks, running_service

CHROMIUM = Path("/usr/bin/chromium")
LIMIT = 20_000  # milliseconds; a page looks for news once a second
PHASES = {
    "agent-start": (0.0, 0.1),
    "manifest": (0.1, 0.1),
    "pull": (0.2, 4.0),
    "engine-import": (0.1, 5.0),
    "weight-wait": (5.1, 0.4),
    "load": (5.5, 0.6),
}

expect.set_options(timeout=LIMIT)


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists():
        reason = "there is no chromium: apt-get install --no-install-recommends chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def origin():
    return MemoryOrigin({"config.json": b"{}", "w.dat": chunks(2.5)})


@pytest.fixture
def bench(tmp_path, origin):
    origins = MemoryOrigins({SOURCE: origin})
    with running_service(tmp_path / "root", origins, capacity=100 * 2**20) as bench:
        bench.reconciled()
        bench.put()
        bench.resolved()
        yield bench


@pytest.fixture
def rhythm():
    """When the streams of pages do what."""
    return RHYTHM


@pytest.fixture
def plane(bench, rhythm):
    with control_plane(bench.service, pages=dashboard, rhythm=rhythm) as plane:
        yield plane


class Visitors:
    """Opens browsers, each somebody's, and hears what they complain about."""

    def __init__(self, browser, plane) -> None:
        self.browser, self.plane = browser, plane
        self.complaints: list[str] = []

    @contextmanager
    def visitor(self, token: str | None = TOKEN, **look) -> Iterator[Page]:
        context = self.browser.new_context(base_url=self.plane.url, **look)
        context.set_default_timeout(LIMIT)
        page = context.new_page()
        page.on("console", lambda m: self._hear(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: self._hear(str(e)))
        page.on("request", lambda r: self._elsewhere(r.url))
        try:
            if token is not None:
                sign_in(context, token)
            yield page
        finally:
            context.close()

    def _hear(self, text: str) -> None:
        self.complaints.append(text)

    def _elsewhere(self, url: str) -> None:
        if not url.startswith(self.plane.url):
            self._hear(f"a request to {url}")


def sign_in(context: BrowserContext, token: str) -> None:
    answer = context.request.post("/sign-in", form={"token": token, "to": "/"})
    assert answer.ok, answer.text()


@pytest.fixture
def visitors(browser, plane):
    """Whoever visits: at the end no browser may have complained, nor asked another site."""
    visitors = Visitors(browser, plane)
    yield visitors
    assert visitors.complaints == []


@pytest.fixture
def page(visitors):
    """The admin's page."""
    with visitors.visitor() as page:
        yield page


@pytest.fixture
def role(plane):
    """Make a token of a role."""

    def make(role: str) -> dict[str, str]:
        return plane.ask("POST", "/v1/tokens", {"role": role}).json

    return make


@pytest.fixture
def booted(bench):
    """Have starts of ``voice`` reported."""
    boots = Boots(bench.service._registry)

    def add(count: int = 1, **fields) -> None:
        for number in range(count):
            start = report(6.1 + number / 10, **({"phases": PHASES} | fields))
            boots.add(Key("default", "voice"), start, bench.clock.now())

    return add
