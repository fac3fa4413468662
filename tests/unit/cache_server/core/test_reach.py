import pytest

from cache_protocol.errors import MalformedError
from cache_server.core.reach import parse_reach

PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",  # carrier NAT, also some clouds' metadata
    "169.254.169.254",  # metadata of most clouds
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",  # metadata of one cloud
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "168.63.129.16",  # what one cloud gives its machines secrets at, in a public network
    "192.0.0.192",  # metadata of one cloud
    "192.88.99.1",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b:1::a9fe:a9fe",
    "fec0::1",
    "5f00::1",
    "3fff::1",
    "not an address",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_permitted_to_nobody_by_itself(address):
    assert not parse_reach("").permits("cdn.example", address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_a_public_address_is_permitted(address):
    assert parse_reach("").permits("cdn.example", address)


def test_a_network_permits_its_addresses_alone():
    reach = parse_reach("10.20.0.0/16, fd00::/8")
    assert reach.permits("cdn.example", "10.20.3.4")
    assert reach.permits("cdn.example", "::ffff:10.20.3.4")
    assert reach.permits("cdn.example", "fd12::1")
    assert not reach.permits("cdn.example", "10.21.0.1")


def test_a_named_host_is_permitted_wherever_it_is_and_no_host_below_or_beside_it():
    reach = parse_reach("Hub.Corp.example.")
    assert reach.permits("hub.corp.example", "10.0.0.1")
    assert not reach.permits("x.hub.corp.example", "10.0.0.1")
    assert not reach.permits("corp.example", "10.0.0.1")


def test_the_operators_own_endpoint_is_permitted():
    reach = parse_reach("", "http://127.0.0.1:5000/hf", None)
    assert reach.permits("127.0.0.1", "127.0.0.1")
    assert not reach.permits("localhost", "127.0.0.1")


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "a b", "http://hub", "hub:80", "1.2.3", "hub/8"])
def test_an_entry_that_is_none_is_refused_by_name(entry):
    with pytest.raises(MalformedError, match="is not a host, an address or a network"):
        parse_reach(f"10.0.0.1,{entry}")


def test_more_hosts_can_be_permitted_and_no_name_is_none():
    reach = parse_reach("").with_hosts(["Minio.internal", ""])
    assert reach.permits("minio.internal", "10.0.0.1")
    assert not reach.permits("", "10.0.0.1")
    assert not reach.permits("bucket.minio.internal", "10.0.0.1")
