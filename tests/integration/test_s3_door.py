"""The S3 door with the programs that people use, each with its own kind of credentials, auth on.

A bucket is a pipeline, a key ``<model>/<path>``. Nothing here knows of the node but an address and
two keys.
"""

import hashlib
import json
import os
import signal
import urllib.request
from pathlib import Path
from threading import Thread

import pytest
import torch
from botocore.exceptions import ClientError
from safetensors.torch import load_file

from benchmarks.node import Node, running_node
from cache_protocol.digests import CHUNK_SIZE
from tests.fakes.certificates import Authority
from tests.fakes.hub import Fault, Hub
from tests.integration.conftest import Hold
from tests.integration.content import chunks, write
from tests.integration.programs import cache_of, exit_code, until
from tests.integration.s3_programs import DOWNLOADS, Access, access_to, require_s3_clients

TINY = b'{"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
FILES = {
    "w.dat": chunks(5, more=77),
    "config.json": b"{}",
    "sub dir/é+b=.txt": b"odd",
    "tiny.safetensors": len(TINY).to_bytes(8, "little") + TINY + b"tiny",
}
SHA256 = hashlib.sha256(FILES["w.dat"]).hexdigest()
FEW = {"max_attempts": 1}  # so that a test of an error does not wait for others


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    require_s3_clients()


@pytest.fixture(scope="module")
def access(node: Node) -> Access:
    return access_to(node)


@pytest.fixture
def slot(node: Node, hub: Hub, pipeline: str, repo: str) -> str:
    """A cold one."""
    hub.commit(repo, FILES)
    node.put(pipeline, {"m": f"hf://{repo}"})
    return pipeline


@pytest.fixture
def warm(node: Node, slot: str) -> str:
    node.warm(slot)
    return slot


def requests_of_the_api(node: Node) -> list[str]:
    return [line for line in node.log.read_text().splitlines() if "cache_server.requests" in line]


ALL = pytest.mark.parametrize("program", ["boto3", "aws", "s5cmd"])


# -- slots in every state ------------------------------------------------------------------------


@ALL
def test_a_cold_slot_fills_for_who_asks(
    access: Access, node: Node, slot: str, program: str, tmp_path: Path
) -> None:
    assert access.read(program, slot, "m/w.dat", tmp_path / "w") == SHA256
    until(lambda: cache_of(node, slot)["warm"])


@ALL
def test_a_warm_slot_is_served_with_the_origin_down_and_it_is_asked_nothing(
    access: Access, hub: Hub, warm: str, repo: str, program: str, tmp_path: Path
) -> None:
    hub.order(Fault(repo, times=1000, status=503))
    before = len(hub.log)
    assert access.read(program, warm, "m/w.dat", tmp_path / "w") == SHA256
    assert [seen for seen in hub.log[before:] if repo in seen.path] == []


@ALL
def test_a_warm_slot_is_served_while_the_origin_says_429(
    access: Access, hub: Hub, warm: str, repo: str, program: str, tmp_path: Path
) -> None:
    hub.order(Fault(repo, times=1000, status=429, headers={"Retry-After": "60"}))
    assert access.read(program, warm, "m/w.dat", tmp_path / "w") == SHA256


@ALL
def test_a_cold_slot_whose_origin_says_429_for_a_while_is_served_after_it(
    access: Access, hub: Hub, slot: str, repo: str, program: str, tmp_path: Path
) -> None:
    hub.order(Fault(repo, times=2, status=429, headers={"Retry-After": "1"}))
    assert access.read(program, slot, "m/w.dat", tmp_path / "w") == SHA256


def test_bytes_come_as_they_land(access: Access, slot: str, repo: str, hold: Hold) -> None:
    gate = hold(f"{repo}/", at="cdn", chunk=4)
    with access.boto3() as client:
        body = client.get_object(Bucket=slot, Key="m/w.dat")["Body"]
        begin = body.read(CHUNK_SIZE)
        assert begin == FILES["w.dat"][:CHUNK_SIZE]
        gate.set()
        assert hashlib.sha256(begin + body.read()).hexdigest() == SHA256


@ALL
def test_parts_of_a_slot_that_fills_are_brought_first_and_come_whole(
    access: Access, hub: Hub, slot: str, repo: str, program: str, hold: Hold, tmp_path: Path
) -> None:
    gates = [hold(f"{repo}/", at="cdn") for _ in range(3)]

    def open_them() -> None:
        hub.wait_until_stalled(3)
        for gate in gates:
            gate.set()

    thread = Thread(target=open_them)
    thread.start()
    assert access.read(program, slot, "m/w.dat", tmp_path / "w") == SHA256
    thread.join()


def test_an_origin_that_says_no_is_told_at_once_and_not_asked_again(
    access: Access, node: Node, pipeline: str, repo: str
) -> None:
    node.put(pipeline, {"m": f"hf://{repo}"})
    with access.boto3() as client, pytest.raises(ClientError) as refused:
        client.get_object(Bucket=pipeline, Key="m/w.dat")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in (403, 404)
    assert refused.value.response["ResponseMetadata"]["RetryAttempts"] == 0


# -- boto3 ---------------------------------------------------------------------------------------


def test_a_listing_in_pages_has_every_key_once(access: Access, warm: str) -> None:
    with access.boto3() as client:
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=warm, PaginationConfig={"PageSize": 1}
        )
        found = {item["Key"]: item["Size"] for page in pages for item in page["Contents"]}
    assert found == {f"m/{path}": len(data) for path, data in FILES.items()}


def test_every_key_of_a_listing_can_be_read(access: Access, warm: str) -> None:
    with access.boto3() as client:
        for item in client.list_objects_v2(Bucket=warm)["Contents"]:
            got = client.get_object(Bucket=warm, Key=item["Key"])
            assert got["Body"].read() == FILES[item["Key"].removeprefix("m/")]
            assert got["ETag"] == item["ETag"]


@pytest.mark.parametrize(
    ("range_", "span"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=8388600-8388700", slice(8388600, 8388701)),
        ("bytes=41943000-", slice(41943000, None)),
        ("bytes=-100", slice(-100, None)),
    ],
)
def test_a_range_gives_these_bytes(access: Access, warm: str, range_: str, span: slice) -> None:
    with access.boto3() as client:
        got = client.get_object(Bucket=warm, Key="m/w.dat", Range=range_)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["Body"].read() == FILES["w.dat"][span]


def test_a_presigned_url_needs_nothing_else(access: Access, warm: str) -> None:
    with access.boto3() as client:
        params = {"Bucket": warm, "Key": "m/sub dir/é+b=.txt"}
        url = client.generate_presigned_url("get_object", Params=params, ExpiresIn=60)
    with urllib.request.urlopen(url, timeout=30) as got:  # noqa: S310 - the node's own
        assert got.read() == b"odd"


def test_a_write_is_refused_and_the_same_client_reads_on(access: Access, warm: str) -> None:
    with access.boto3(retries=FEW) as client:
        with pytest.raises(ClientError, match="MethodNotAllowed"):
            client.put_object(Bucket=warm, Key="m/new", Body=b"x" * 100_000)
        with pytest.raises(ClientError, match="MethodNotAllowed"):
            client.delete_object(Bucket=warm, Key="m/w.dat")
        assert client.head_object(Bucket=warm, Key="m/w.dat")["ContentLength"] == len(
            FILES["w.dat"]
        )


def test_the_data_port_answers_too(node: Node, access: Access, warm: str) -> None:
    data = json.loads((node.root / "node.json").read_text())["data"]
    with Access(f"{data}/s3", access.key, access.secret).boto3() as client:
        assert client.get_object(Bucket=warm, Key="m/config.json")["Body"].read() == b"{}"


# -- the other programs --------------------------------------------------------------------------


def test_aws_cli_lists_and_syncs_a_model(access: Access, warm: str, tmp_path: Path) -> None:
    listed = access.aws("s3", "ls", "--recursive", f"s3://{warm}").stdout.splitlines()
    assert sorted(line.split(maxsplit=3)[3] for line in listed) == sorted(f"m/{p}" for p in FILES)
    access.aws("s3", "sync", "--only-show-errors", f"s3://{warm}/m", tmp_path / "m")
    for path, data in FILES.items():
        assert (tmp_path / "m" / path).read_bytes() == data


def test_s5cmd_lists_and_copies_with_a_wildcard(access: Access, warm: str, tmp_path: Path) -> None:
    listed = access.s5cmd("ls", f"s3://{warm}/*").stdout
    assert all(path in listed for path in FILES)
    access.s5cmd("cp", f"s3://{warm}/m/*", f"{tmp_path}/")
    for path, data in FILES.items():
        assert (tmp_path / path).read_bytes() == data


def test_the_runai_streamer_has_every_tensor(
    access: Access, node: Node, pipeline: str, checkpoint: Path
) -> None:
    node.put(pipeline, {"m": f"file://{checkpoint}"})
    shard = min(checkpoint.glob("*.safetensors"))
    truth = {
        name: hashlib.sha256(tensor.view(-1).view(torch.uint8).numpy()).hexdigest()
        for name, tensor in load_file(shard).items()
    }
    assert access.stream(pipeline, f"m/{shard.name}") == truth


@pytest.mark.parametrize("status", [429, 503])
def test_the_runai_streamer_reads_a_warm_slot_whatever_its_origin_says(
    access: Access, hub: Hub, warm: str, repo: str, status: int
) -> None:
    hub.order(Fault(repo, times=1000, status=status, headers={"Retry-After": "60"}))
    read = access.stream(warm, "m/tiny.safetensors")
    assert list(read.values()) == [hashlib.sha256(b"tiny").hexdigest()]


def test_the_runai_streamer_waits_for_a_cold_slot_whose_origin_says_429_for_a_while(
    access: Access, hub: Hub, slot: str, repo: str
) -> None:
    hub.order(Fault(repo, times=2, status=429, headers={"Retry-After": "1"}))
    read = access.stream(slot, "m/tiny.safetensors")
    assert list(read.values()) == [hashlib.sha256(b"tiny").hexdigest()]


def test_no_program_asks_for_anything_outside_the_prefix(
    access: Access, node: Node, warm: str, tmp_path: Path
) -> None:
    before = requests_of_the_api(node)  # it logs whatever is asked of it, refused or not
    access.read("boto3", warm, "m/config.json", tmp_path / "b")
    access.aws("s3", "ls", f"s3://{warm}/m/")
    access.s5cmd("ls")
    access.stream(warm, "m/tiny.safetensors")
    assert requests_of_the_api(node) == before


@pytest.mark.parametrize("program", ["boto3", "s5cmd"])
def test_wrong_keys_read_nothing(access: Access, warm: str, program: str, tmp_path: Path) -> None:
    wrong = Access(access.endpoint, access.key, "wrong" * 8)
    with pytest.raises((AssertionError, ClientError), match=r"403|Forbidden|SignatureDoesNotMatch"):
        wrong.read(program, warm, "m/w.dat", tmp_path / "w")


# -- a node that has TLS, and one that stops -----------------------------------------------------


def test_with_tls_the_same_clients_need_a_ca_and_no_more(scratch: Path) -> None:
    authority = Authority(scratch)
    cert, key = authority.issue("127.0.0.1")
    weights = write(scratch / "weights", FILES)
    flags = ("--tls-cert", str(cert), "--tls-key", str(key))
    with running_node(scratch / "root", *flags) as plain:
        node = Node(plain.root, plain.pid, plain.control, plain.log, plain.token, authority.ca)
        node.put("voice", {"m": f"file://{weights}"})
        node.warm("voice")
        access = access_to(node)
        for program in DOWNLOADS:
            assert access.read(program, "voice", "m/w.dat", scratch / program) == SHA256, program
        expected = [hashlib.sha256(b"tiny").hexdigest()]
        assert list(access.stream("voice", "m/tiny.safetensors").values()) == expected


def test_a_node_that_is_told_to_stop_lets_a_reader_finish(
    scratch: Path, hub: Hub, repo: str, hold: Hold
) -> None:
    hub.commit(repo, FILES)
    env = {"HF_ENDPOINT": hub.endpoint}
    gate = hold(f"{repo}/", at="cdn", chunk=4)
    with running_node(scratch / "root", "--drain", "PT30S", env=env) as node:
        node.put("voice", {"m": f"hf://{repo}"})
        with access_to(node).boto3() as client:
            body = client.get_object(Bucket="voice", Key="m/w.dat")["Body"]
            begin = body.read(CHUNK_SIZE)
            os.kill(node.pid, signal.SIGTERM)
            until(lambda: "draining" in node.log.read_text())
            gate.set()
            assert hashlib.sha256(begin + body.read()).hexdigest() == SHA256
        os.kill(node.pid, signal.SIGTERM)  # wait for nobody else: clients of S3 say no goodbye
        assert exit_code(node) == 0
