"""Connections that come for S3 and show no key: they keep neither replicas nor the API out.

From their first bytes on they are the data plane's, whose bounds count for them.
"""

from dataclasses import replace

import pytest

from tests.fakes.data_node import QUICK, settled
from tests.fakes.ports import both_ports

FEW = 8


def test_of_those_that_show_no_key_the_oldest_goes_and_others_are_answered(tmp_path):
    limits = replace(QUICK, connections=FEW)
    with both_ports(tmp_path, limits=limits) as ports:
        crowd = [ports.connect() for _ in range(3 * FEW)]
        for stranger in crowd:
            assert stranger.get("/s3/none").status == 404
            assert settled(lambda: ports.plane.stats.active == 0)
        with ports.connect() as replica, ports.connect() as caller:
            assert replica.get("/s3/a", "X-Tenant: blue").body == b"weights"
            assert caller.get("/healthz").status == 200
        assert all(stranger.ended() for stranger in crowd[:FEW])
        for stranger in crowd:
            stranger.sock.close()


@pytest.mark.parametrize("who", ["X-Tenant: blue", "X-Tenant: -"])
def test_one_that_has_shown_its_key_stays_whatever_crowd_comes(tmp_path, who):
    limits = replace(QUICK, connections=FEW)
    with both_ports(tmp_path, limits=limits) as ports, ports.connect() as replica:
        assert replica.get("/s3/a", who).body == b"weights"
        crowd = [ports.connect() for _ in range(3 * FEW)]
        for stranger in crowd:
            stranger.get("/s3/none")
        assert replica.get("/s3/a", who).body == b"weights"
        for stranger in crowd:
            stranger.sock.close()


def test_half_a_head_is_waited_for_no_longer_than_on_the_other_port(tmp_path):
    limits = replace(QUICK, head_time=0.2)
    with both_ports(tmp_path, limits=limits) as ports, ports.connect() as slow:
        slow.send(b"GET /s3/a HTTP/1.1\r\nHost:")
        assert slow.reply().body.startswith(b"no 408 ")
        assert slow.ended()


def test_what_is_no_request_behind_a_good_one_ends_that_connection_alone(tmp_path):
    with both_ports(tmp_path) as ports, ports.connect() as bad, ports.connect() as good:
        assert bad.get("/s3/a").body == good.get("/s3/a").body == b"weights"
        bad.send(b"\x16\x03\x01\x02\x00" * 40 + b"\r\n\r\n")
        assert bad.reply().status == 400
        assert bad.ended()
        assert good.get("/s3/a").body == b"weights"
