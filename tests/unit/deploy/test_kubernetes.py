"""The manifests, against Kubernetes' own schemas and against what our programs expect."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from cache_server.http.door import PROBES
from cache_server.settings import Settings
from cache_server.stopping import STOP_LIMIT
from replica_agent.boot.command import takes_handover
from replica_agent.boot.options import add_arguments
from replica_agent.settings import from_environment

FOLDER = Path(__file__).resolve().parents[3] / "deploy/kubernetes"
OLDEST, NEWEST = "1.29", "1.34"  # the oldest of two years' clusters, the newest with a schema here


def documents() -> Iterator[tuple[str, Any]]:
    for file in sorted(FOLDER.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            yield f"{file.name} {document['kind']}", document


EVERY = [pytest.param(document, id=name) for name, document in documents()]
PODS = [
    pytest.param(document["spec"]["template"]["spec"], id=name)
    for name, document in documents()
    if document["kind"] in ("StatefulSet", "Deployment")
]


def one(kind: str) -> Any:
    return next(document for _, document in documents() if document["kind"] == kind)


def node() -> Any:
    return one("StatefulSet")["spec"]["template"]["spec"]


def engine() -> Any:
    return one("Deployment")["spec"]["template"]["spec"]["containers"][0]


def given() -> tuple[argparse.Namespace, list[str]]:
    """Return what the engine's entry says to the agent, and the engine's own command."""
    words = engine()["args"]
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    cut = words.index("--")
    return parser.parse_args(words[:cut]), words[cut + 1 :]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("document", EVERY)
def test_a_manifest_is_what_its_schema_says(document, version):
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("pod", PODS)
def test_no_pod_is_told_of_services_by_variables(pod):
    assert pod["enableServiceLinks"] is False


def test_no_service_has_a_name_whose_variables_are_our_settings():
    for _, document in documents():
        if document["kind"] == "Service":
            prefix = document["metadata"]["name"].upper().replace("-", "_")
            assert not prefix.startswith(("CACHE_SERVER", "REPLICA_AGENT"))


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_has_no_more_rights_than_it_needs(pod):
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_the_nodes_settings_are_settings():
    settings = Settings.from_env(one("ConfigMap")["data"], {})
    ports = {p["name"]: p["containerPort"] for p in node()["containers"][0]["ports"]}
    assert ports == {"control": settings.port, "data": settings.data_port}
    assert [p["port"] for p in one("Service")["spec"]["ports"]] == list(ports.values())
    mounts = {m["mountPath"] for m in node()["containers"][0]["volumeMounts"]}
    assert str(settings.root) in mounts


def test_the_claim_asks_for_what_a_local_volume_can_do():
    """ReadWriteOncePod is for volumes of CSI drivers alone; a node keeps others off ROOT itself."""
    (claim,) = one("StatefulSet")["spec"]["volumeClaimTemplates"]
    volume = one("PersistentVolume")["spec"]
    assert claim["spec"]["accessModes"] == volume["accessModes"] == ["ReadWriteOnce"]
    assert claim["spec"]["storageClassName"] == volume["storageClassName"]
    assert claim["spec"]["resources"]["requests"]["storage"] == volume["capacity"]["storage"]


def test_a_pod_has_time_to_drain_before_it_is_killed():
    drain = Settings.from_env(one("ConfigMap")["data"], {}).drain.total_seconds()
    assert node()["terminationGracePeriodSeconds"] >= drain + STOP_LIMIT


def test_the_probes_ask_what_answers_without_a_token():
    container = node()["containers"][0]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in PROBES


def test_an_unready_node_is_not_restarted():
    assert node()["containers"][0]["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_the_engines_entry_is_a_boot_that_takes_the_hand_over():
    variables = {v["name"]: v["value"] for v in engine()["env"] if "value" in v}
    settings = from_environment(variables)
    service = one("Service")
    assert settings.server == f"http://{service['metadata']['name']}:8080"
    assert engine()["command"] == ["replica-agent", "boot"]
    options, command = given()
    assert options.pipeline == "chat"
    assert takes_handover(command)


def test_a_new_pod_knows_the_origin_while_the_node_is_away():
    """Its state is empty: no manifest of an earlier boot says where the weights come from."""
    options, _ = given()
    put = re.search(r"pipelines put chat --model (\S+)", (FOLDER / "README.md").read_text())
    assert options.origin == [put[1]]


def test_the_engine_is_let_in_by_the_nodes_network_policy():
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"]
    wanted = one("NetworkPolicy")["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    assert wanted.items() <= labels.items()
