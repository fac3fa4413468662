import re
from urllib.parse import urlencode

import pytest

from cache_server.dashboard.front import dashboard
from tests.fakes.control_plane import TOKEN, ControlPlane, control_plane
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, chunks, running_service

PAGE = {"Accept": "text/html"}


class Site:
    """The pages as a browser sees them: a cookie instead of a token."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.cookie: str | None = None

    def get(self, path, **headers):
        return self.plane.ask("GET", path, token=None, headers=self._headers() | headers)

    def post(self, path, fields, **headers):
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(fields).encode()
        connection = self.plane.connect()
        try:
            connection.request("POST", path, body, self._headers() | form | headers)
            return self.plane.receive(connection)
        finally:
            connection.close()

    def sign_in(self, token=TOKEN, to="/", **headers):
        answer = self.post("/sign-in", {"token": token, "to": to}, **headers)
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return answer

    def token(self, role, **fields):
        """Return a new token, made by the admin."""
        tenant = {"Warmline-Tenant": fields.pop("tenant", "default")}
        return self.plane.ask("POST", "/v1/tokens", {"role": role} | fields, headers=tenant).json

    def proof(self, path="/"):
        """Return what the forms of a page carry."""
        found = re.search(rb'name="proof" value="([^"]+)"', self.get(path).body)
        return found.group(1).decode()

    def act(self, name, action, **fields):
        path = f"/pipelines/{name}/{action}?tenant=default"
        return self.post(path, {"proof": self.proof(path)} | fields)

    def _headers(self):
        return PAGE | ({"Cookie": self.cookie} if self.cookie else {})


@pytest.fixture
def origin():
    return MemoryOrigin({"config.json": b"{}", "w.dat": chunks(1.2)})


@pytest.fixture
def bench(tmp_path, origin, quick_retries):
    with running_service(
        tmp_path / "root", MemoryOrigins({SOURCE: origin}), capacity=100 * 2**20
    ) as bench:
        bench.reconciled()
        yield bench


@pytest.fixture
def stranger(bench):
    """A browser that nobody knows yet."""
    with control_plane(bench.service, pages=dashboard) as plane:
        yield Site(plane)


@pytest.fixture
def site(stranger):
    """The admin's browser."""
    assert stranger.sign_in().status == 303
    return stranger
