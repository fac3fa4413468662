"""What ``tokens create --s3`` prints is all that an S3 client is told."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.node import Node, clean_environment
from tests.fakes.hub import Hub
from tests.integration.programs import cache_server
from tests.integration.s3_programs import VENV, require_s3_clients

# No setting but the environment: neither endpoint nor region, style of addresses or signature.
BOTO3 = "import boto3, sys; print(boto3.client('s3').get_object(Bucket=sys.argv[1], Key='m/a')"
READ = f"{BOTO3}['Body'].read().decode())"
PRESIGNED = """
import boto3, sys, urllib.request
params = {"Bucket": sys.argv[1], "Key": "m/a"}
url = boto3.client("s3").generate_presigned_url("get_object", Params=params)
print(urllib.request.urlopen(url).read().decode())
"""
COMMANDS = {
    "boto3": (sys.executable, "-c", READ, "{}"),
    "boto3-presigned": (sys.executable, "-c", PRESIGNED, "{}"),
    "aws": (VENV / "bin/aws", "s3", "cp", "s3://{}/m/a", "-"),
    "s5cmd": (VENV / "bin/s5cmd", "cat", "s3://{}/m/a"),
}


@pytest.fixture(scope="module")
def settings(node: Node) -> dict[str, str]:
    made = cache_server("tokens", "create", "--role", "replica", "--s3", "--root", node.root)
    assert made.returncode == 0, made.stderr
    return dict(line.split("=", 1) for line in made.stdout.split())


@pytest.mark.parametrize("program", COMMANDS)
def test_a_program_that_is_told_these_settings_reads(
    node: Node, hub: Hub, pipeline: str, repo: str, settings: dict[str, str], program: str
) -> None:
    require_s3_clients()
    hub.commit(repo, {"a": b"weights"})
    node.put(pipeline, {"m": f"hf://{repo}"})
    node.warm(pipeline)
    done = subprocess.run(
        [str(word).replace("{}", pipeline) for word in COMMANDS[program]],
        env=_nothing_else() | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == ("weights", 0), done.stderr


def _nothing_else() -> dict[str, str]:
    """Return an environment that knows of no other S3."""
    nowhere = str(Path("/nowhere"))
    files = {"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere}
    kept = {k: v for k, v in clean_environment().items() if not k.startswith(("AWS_", "S3_"))}
    return {**kept, **files, "AWS_EC2_METADATA_DISABLED": "true"}
