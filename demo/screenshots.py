"""Pictures of the three pages, light, dark and on a phone: ``scripts/screenshots``.

A real service with its real pages, over the pipelines of ``fleet``, in a headless Chromium. One
pipeline fills meanwhile, slowly, from an origin that sends zeros.
"""

import argparse
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from cache_protocol.errors import OriginDeniedError
from cache_protocol.ranges import Span
from cache_server.catalogue.registry import Key, Registry
from cache_server.core.content import Listing, ModelSpec, OriginFile
from cache_server.dashboard.front import dashboard
from cache_server.service.clocks import system_clocks
from cache_server.service.service import Options, Service
from cache_server.store.root import Root
from demo.fleet import FLEET, lay_out, listing
from tests.fakes.control_plane import TOKEN, ControlPlane, control_plane

CHROMIUM = "/usr/bin/chromium"
CAPACITY = 500_000_000_000  # bytes
PIECE = 2**20  # bytes
PAUSE = 0.5  # seconds between two pieces of one stream: some 16 MB/s in all
GATED = "hf://black-forest-labs/FLUX.1-dev"
PAGES = {
    "pipelines": "/",
    "pipeline": "/pipelines/voice-agent?tenant=default",
    "node": "/node?need=230GB",
}
LOOKS = {
    "light": {"viewport": {"width": 1240, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1240, "height": 900}, "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 390, "height": 1240},
        "color_scheme": "light",
        "has_touch": True,
    },
}


class Zeros:
    """An origin whose every byte is zero, and comes slowly. See ``ports.Origin``."""

    def __init__(self, spec: ModelSpec, ending: threading.Event) -> None:
        self._spec = spec
        self._ending = ending
        self._sizes = dict(model for each in FLEET for model in each.models.values())

    def resolve(self) -> Listing:
        """Say what there is; the gated one says no."""
        if self._spec.source == GATED:
            raise OriginDeniedError(
                f"{GATED}: 403, access to this repository is restricted; accept its licence with "
                "the account of the token"
            )
        return listing(self._spec.source, self._sizes[self._spec.source])

    def check_access(self) -> None:
        """Say that everybody may read."""

    @contextmanager
    def open(self, _revision: str, _file: OriginFile, span: Span) -> Iterator["_Drip"]:
        """Return zeros."""
        yield _Drip(span.size, self._ending)

    def close(self) -> None:
        """Nothing is open."""


class _Drip:
    def __init__(self, left: int, ending: threading.Event) -> None:
        self._left = left
        self._ending = ending

    def readinto(self, into: memoryview, /) -> int:
        self._ending.wait(PAUSE)
        count = min(len(into), self._left, PIECE)
        into[:count] = bytes(count)
        self._left -= count
        return count


class _Roomy(Root):
    """A directory on a disk as a node has one; the machine that makes pictures has another."""

    @property
    def disk_free(self) -> int:
        """Bytes, beyond what the capacity allows."""
        return 1_420_000_000_000


@contextmanager
def stage(directory: Path) -> Iterator[ControlPlane]:
    """Serve the fleet's pages for the length of the block."""
    lay_out(directory, FLEET)
    ending, root = threading.Event(), _Roomy(directory)
    service = Service(
        root,
        Registry(f"sqlite:///{directory}/catalogue.db"),
        lambda spec, *_: Zeros(spec, ending),
        Options(CAPACITY, timedelta(hours=48), "eu-north"),
        system_clocks(),
    )
    service.start()
    try:
        with control_plane(service, pages=dashboard) as plane:
            service.warm(Key("default", "image-studio"), refresh=False)
            yield plane
            service.end_fills()
    finally:
        ending.set()
        service.close()
        root.close()


def main() -> int:
    """Make all pictures; exit code 0 when they are there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--to", type=Path, default=Path("docs/images"), help="where they go")
    to: Path = parser.parse_args().to
    to.mkdir(parents=True, exist_ok=True)
    logging.disable()  # one of the fills is meant to fail
    os.umask(0o077)  # as the node's own: it would close what is open to others
    with (
        tempfile.TemporaryDirectory(prefix="warmline-pictures-") as scratch,
        stage(Path(scratch) / "root") as plane,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        for look in LOOKS:
            _take(browser, plane, look, to)
        browser.close()
    return 0


def _take(browser: Browser, plane: ControlPlane, look: str, to: Path) -> None:
    context = browser.new_context(base_url=plane.url, **LOOKS[look])  # type: ignore[arg-type]
    page = context.new_page()
    sign_in(page)
    for name, path in PAGES.items():
        page.goto(path)
        page.wait_for_selector("html[data-fresh]")
        page.wait_for_timeout(2500)  # until speeds are measured
        file = to / f"{name}-{look}.png"
        page.screenshot(path=file, animations="disabled")
        print(f"{file}: {file.stat().st_size / 1000:.0f} kB")
    context.close()


def sign_in(page: Page) -> None:
    """Sign in as the node's admin."""
    page.goto("/")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")


if __name__ == "__main__":
    sys.exit(main())
