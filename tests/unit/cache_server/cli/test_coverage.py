"""Everything that the API can do can be done from the command line."""

import pytest

from cache_server.cli.arguments import parser

# call -> the command that makes it; None: not a person's to make.
COMMANDS: dict[str, str | None] = {
    "GET /v1/pipelines": "pipelines ls",
    "PUT /v1/pipelines/{pipeline}": "pipelines put",
    "GET /v1/pipelines/{pipeline}": "pipelines show",
    "DELETE /v1/pipelines/{pipeline}": "pipelines rm",
    "POST /v1/pipelines/{pipeline}/warm": "warm",
    "POST /v1/pipelines/{pipeline}/touch": "touch",
    "POST /v1/pipelines/{pipeline}/evict": "evict",
    "PUT /v1/pipelines/{pipeline}/pin": "pin",
    "DELETE /v1/pipelines/{pipeline}/pin": "unpin",
    "GET /v1/eviction-plan": "plan-eviction",
    "GET /v1/status": "status",
    "POST /v1/scrub": "scrub",
    "GET /v1/boots": "boots",
    "GET /v1/boots/stats": "boots --stats",
    "POST /v1/tokens": "tokens create",
    "GET /v1/tokens": "tokens ls",
    "DELETE /v1/tokens/{token}": "tokens revoke",
    "POST /v1/tickets/rotate": "tickets rotate",
    "GET /healthz": "health --live",
    "GET /readyz": "health",
    "GET /v1/events": "events",
    # Of replicas: replica-agent boot and pull.
    "GET /v1/pipelines/{pipeline}/manifest": None,
    "GET /v1/pipelines/{pipeline}/plans/{model}": None,
    "GET /v1/pipelines/{pipeline}/plans/{model}/{digest}": None,
    "PUT /v1/pipelines/{pipeline}/plans/{model}/{digest}": None,
    "GET /v1/leases/{lease}/manifest": None,
    "PUT /v1/leases/{lease}": None,
    "DELETE /v1/leases/{lease}": None,
    "POST /v1/boots": None,
    # Of Prometheus.
    "GET /metrics": None,
}
NOT_DESCRIBED = {"GET /v1/events"}  # OpenAPI has no word for a stream


def test_every_call_of_the_api_has_its_command(plane):
    paths = plane.ask("GET", "/openapi.json").json["paths"]
    calls = {f"{method.upper()} {path}" for path, of in paths.items() for method in of}
    assert calls == set(COMMANDS) - NOT_DESCRIBED


@pytest.mark.parametrize("command", [c for c in COMMANDS.values() if c is not None])
def test_the_command_is_there(command, capsys):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([*command.split(), "--help"])
    assert ended.value.code == 0
    assert command.split(" --")[0] in capsys.readouterr().out
