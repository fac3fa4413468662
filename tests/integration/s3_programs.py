"""Programs of S3, unmodified, with credentials of their own kind: what each needs to be told.

access = access_to(node)
access.read("aws", "voice", "llm/a.safetensors", into)
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from benchmarks.node import REPOSITORY, Node, clean_environment

VENV = REPOSITORY / ".venv-s3"
LIMIT = 60.0  # seconds; only a broken program needs them
REGION = "us-east-1"  # any is right
MIB = 2**20
CA_VARIABLES = ("AWS_CA_BUNDLE", "SSL_CERT_FILE")  # the latter is that of programs in Go

# Prints the sha256 of every tensor of an object, as the streamer has it in memory.
_STREAM = """
import hashlib, json, sys, torch
from runai_model_streamer import SafetensorsStreamer
with SafetensorsStreamer() as streamer:
    streamer.stream_files(sys.argv[1:])
    flat = ((name, tensor.view(-1).view(torch.uint8)) for name, tensor in streamer.get_tensors())
    print(json.dumps({name: hashlib.sha256(t.numpy()).hexdigest() for name, t in flat}))
"""


@dataclass(frozen=True)
class Access:
    """What an S3 client is told: an address, and two keys."""

    endpoint: str
    key: str
    secret: str
    ca: Path | None = None

    @contextmanager
    def boto3(self, **more: Any) -> Iterator[Any]:
        """Yield a client, as a program makes it that was written for AWS."""
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            verify=None if self.ca is None else str(self.ca),
            config=Config(signature_version="s3v4", **more),
        )
        try:
            yield client
        finally:
            client.close()

    def run(self, *command: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a program with the variables that all of them know."""
        ca = {} if self.ca is None else dict.fromkeys(CA_VARIABLES, str(self.ca))
        done = subprocess.run(
            [str(part) for part in command],
            env=clean_environment(
                **ca,
                AWS_ACCESS_KEY_ID=self.key,
                AWS_SECRET_ACCESS_KEY=self.secret,
                AWS_ENDPOINT_URL=self.endpoint,
                AWS_REGION=REGION,
                AWS_DEFAULT_REGION=REGION,
                AWS_EC2_METADATA_DISABLED="true",
                AWS_CONFIG_FILE=os.devnull,
                AWS_SHARED_CREDENTIALS_FILE=os.devnull,
                S3_ENDPOINT_URL=self.endpoint,
                RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING="0",
            ),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def aws(self, *arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run aws-cli."""
        return self.run(VENV / "bin/aws", *arguments, check=check)

    def s5cmd(self, *arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run s5cmd."""
        return self.run(VENV / "bin/s5cmd", *arguments, check=check)

    def stream(self, bucket: str, key: str) -> dict[str, str]:
        """Return the sha256 of each tensor of an object, as the Run:ai streamer read it."""
        done = self.run(VENV / "bin/python", "-c", _STREAM, f"s3://{bucket}/{key}")
        digests: dict[str, str] = json.loads(done.stdout)
        return digests

    def read(self, program: str, bucket: str, key: str, to: Path) -> str:
        """Have ``program`` download an object to the file ``to``; return the file's sha256."""
        DOWNLOADS[program](self, bucket, key, to)
        with to.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def _by_boto3(access: Access, bucket: str, key: str, to: Path) -> None:
    parts = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB)
    with access.boto3() as client:
        client.download_file(bucket, key, str(to), Config=parts)


DOWNLOADS: dict[str, Callable[[Access, str, str, Path], object]] = {
    "boto3": _by_boto3,
    "aws": lambda access, bucket, key, to: access.aws("s3", "cp", f"s3://{bucket}/{key}", to),
    "s5cmd": lambda access, bucket, key, to: access.s5cmd("cp", f"s3://{bucket}/{key}", to),
}


def access_to(node: Node, **narrowed: object) -> Access:
    """Make a token of role replica at ``node`` and return what an S3 client is told of it."""
    token = node.call("POST", "/v1/tokens", {"role": "replica", **narrowed})
    keys = token["s3"]
    endpoint = f"{node.control}/s3"
    return Access(endpoint, keys["access_key_id"], keys["secret_access_key"], node.ca)


def require_s3_clients() -> None:
    """Skip the test that calls this, loudly, where they are not installed; fail it in CI."""
    if (VENV / "installed").exists():
        return
    reason = (
        "aws-cli, s5cmd and the Run:ai streamer are not installed: run scripts/install-s3-clients"
    )
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
