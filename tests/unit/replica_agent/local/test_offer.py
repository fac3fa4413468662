from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cache_protocol.local import Offer, host_name
from cache_protocol.manifest import PASS_THROUGH, Lease, Manifest
from replica_agent.local import offer
from replica_agent.local.offer import socket_for

HERE = host_name(Path("/proc/sys/kernel/random/boot_id").read_text())
LEASE = Lease("l", datetime(2030, 1, 1, tzinfo=UTC))
MANIFEST = Manifest("voice", "0" * 32, LEASE, {}, local=Offer("/srv/local.sock", HERE))


def test_a_node_on_our_host_is_asked_where_it_says():
    assert socket_for(MANIFEST, "auto") == Path("/srv/local.sock")


def test_a_node_on_another_host_leads_us_to_no_socket_of_ours():
    elsewhere = Offer("/var/run/docker.sock", host_name("another kernel"))
    assert socket_for(replace(MANIFEST, local=elsewhere), "auto") is None


def test_a_node_that_offers_nothing_is_not_asked():
    assert socket_for(replace(MANIFEST, local=None), "auto") is None


@pytest.mark.parametrize("local", [MANIFEST.local, None])
def test_a_path_that_an_operator_names_is_where_we_ask(local):
    assert socket_for(replace(MANIFEST, local=local), "/run/s") == Path("/run/s")


def test_off_is_off():
    assert socket_for(MANIFEST, "off") is None


def test_what_passes_through_is_no_file_of_the_nodes():
    assert socket_for(replace(MANIFEST, source=PASS_THROUGH), "/run/s") is None


def test_where_the_kernels_name_is_hidden_the_network_is_there(monkeypatch, tmp_path):
    monkeypatch.setattr(offer, "_BOOT_ID", tmp_path / "nothing")
    assert socket_for(MANIFEST, "auto") is None
