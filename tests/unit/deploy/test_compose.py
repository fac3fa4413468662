"""docker-compose.yml against what our programs expect; its schema is checked by scripts/lint."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cache_protocol.units import parse_duration
from cache_server.settings import Settings
from cache_server.stopping import STOP_LIMIT
from tests.fakes.control_plane import TOKEN, control_plane
from tests.fakes.origin import MemoryOrigins
from tests.fakes.programs import program
from tests.fakes.service import running_service

ROOT = Path(__file__).resolve().parents[3]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def settings() -> Settings:
    given = SERVICES["node"]["environment"]
    ours = {k: v for k, v in given.items() if k.startswith("CACHE_SERVER_")}
    return Settings.from_env(ours | {"CACHE_SERVER_REGION": "eu-west-1"}, {})


def test_the_nodes_settings_are_settings():
    published = {int(port.split(":")[1]) for port in SERVICES["node"]["ports"]}
    assert published == {settings().port, settings().data_port}
    assert f"weights:{settings().root}" in SERVICES["node"]["volumes"]


def test_a_node_has_time_to_drain_before_it_is_killed():
    grace = parse_duration(f"PT{SERVICES['node']['stop_grace_period'].upper()}")
    assert grace.total_seconds() >= settings().drain.total_seconds() + STOP_LIMIT


def test_every_file_that_is_mounted_is_there():
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (ROOT / source).exists(), source


def test_every_service_gives_up_its_rights():
    for service in SERVICES.values():
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]


def test_prometheus_asks_the_node_with_the_token_that_is_made_for_it():
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (scrape,) = config["scrape_configs"]
    assert scrape["static_configs"][0]["targets"] == [f"node:{settings().port}"]
    (script,) = SERVICES["metrics-token"]["command"]
    made, read = "/data/metrics", "/tokens/metrics"
    assert f"mv /data/new {made}" in script
    assert "tokens:/data" in SERVICES["metrics-token"]["volumes"]
    assert scrape["authorization"]["credentials_file"] == read
    assert "tokens:/tokens:ro" in SERVICES["prometheus"]["volumes"]
    assert "--tenant '*' --role viewer" in script


@pytest.fixture
def make_token(tmp_path, monkeypatch):
    """Do what the service does that makes the token; return its exit code and the token."""
    (script,) = SERVICES["metrics-token"]["command"]
    data, shell = tmp_path / "data", tmp_path / "bin"
    for folder in (data, shell):
        folder.mkdir()
    ours = shell / "cache-server"
    ours.write_text(f'#!/bin/sh\nexec {sys.executable} -m cache_server "$@"\n')
    ours.chmod(0o700)
    (tmp_path / "admin-token").write_text(TOKEN)
    monkeypatch.setenv("PATH", f"{shell}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("CACHE_SERVER_ROOT", "/nowhere")

    def make(url: str) -> tuple[int, str]:
        here = script.replace("$$", "$").replace("http://node:8080", url)
        here = here.replace("/data", str(data)).replace("/node/admin", str(tmp_path / "admin"))
        done = subprocess.run(["/bin/sh", "-euc", here], check=False, timeout=60)
        made = data / "metrics"
        return done.returncode, made.read_text().strip() if made.exists() else ""

    return make


def test_the_token_of_prometheus_is_kept_while_it_is_good_and_made_anew_once_it_is_not(
    make_token, tmp_path
):
    with (
        running_service(tmp_path / "root", MemoryOrigins({})) as bench,
        control_plane(bench.service) as plane,
    ):
        first = make_token(plane.url)
        assert plane.ask("GET", "/metrics", token=first[1]).status == 200
        assert make_token(plane.url) == first
        plane.ask("DELETE", f"/v1/tokens/{first[1].split('_')[1]}")
        code, second = make_token(plane.url)
        assert (code, plane.ask("GET", "/metrics", token=second).status) == (0, 200)
    assert make_token("http://127.0.0.1:1") == (3, second)


def test_what_only_people_look_at_is_published_on_this_host_alone():
    for name in ("prometheus", "grafana"):
        assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])


def test_prometheus_takes_its_configuration():
    config = ROOT / "deploy/prometheus/prometheus.yml"
    # Its syntax alone: the token is there once the node has made it.
    promtool = program("promtool", "scripts/install-promtool")
    command = [promtool, "check", "config", "--syntax-only", str(config)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
