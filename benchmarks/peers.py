"""The same bytes, brought by the programs that people use today. Each returns seconds.

Destination is memory, or tmpfs for those that only write files, so that no disk is measured.
Clocks start in the child process after its imports, before it makes a file or buffer.

    python -m benchmarks.peers snapshot REPO DIR      huggingface_hub's own download
    python -m benchmarks.peers stream URL …           Run:ai Model Streamer (needs .venv-peers)
    python -m benchmarks.peers object BUCKET KEY FILE boto3's download_file
"""

import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.children import result_of, result_of_command
from benchmarks.node import REPOSITORY

_TMPFS = Path("/dev/shm")  # noqa: S108 - the tmpfs of every Linux, not a predictable file
_PEERS = REPOSITORY / ".venv-peers"
_RUNAI = "runai-model-streamer[s3]==0.17.0"


def aria2c(urls: list[str]) -> float:
    """Download ``urls`` with eight connections per file into tmpfs."""
    with _scratch() as directory:
        wanted = directory / "urls"
        wanted.write_text("\n".join(urls) + "\n")
        command = ["aria2c", "--quiet", "-x8", "-s8", "-k1M", "--file-allocation=none"]
        command += ["--no-conf", "-d", str(directory), "-i", str(wanted)]
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return time.perf_counter() - begun


def snapshot_download(endpoint: str, repository: str, token: str | None = None) -> float:
    """Download ``repository`` from the hub at ``endpoint`` into tmpfs."""
    with _scratch() as directory:
        seconds: float = result_of(
            "benchmarks.peers",
            "snapshot",
            repository,
            directory / "snapshot",
            HF_ENDPOINT=endpoint,
            HF_HOME=str(directory / "home"),
            HF_HUB_DISABLE_PROGRESS_BARS="1",
            HF_HUB_DISABLE_XET="1",
            **({"HF_TOKEN": token} if token else {}),
        )
        return seconds


class S3(NamedTuple):
    """An S3 endpoint, as its clients are told of it."""

    endpoint: str
    key: str = "benchmark"
    secret: str = "benchmark"  # noqa: S105 - for servers that do not look

    @property
    def variables(self) -> dict[str, str]:
        """What they read from their environment."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "0",
        }


def download_file(s3: S3, bucket: str, key: str) -> float:
    """Download an object with boto3 as it is, ten threads and parts of 8 MiB, into tmpfs."""
    with _scratch() as directory:
        seconds: float = result_of(
            "benchmarks.peers", "object", bucket, key, directory / "object", **s3.variables
        )
        return seconds


def runai_streamer(s3: S3, keys: list[str]) -> float:
    """Stream ``keys``, ``bucket/name``, into memory."""
    seconds: float = result_of_command(
        [
            str(_PEERS / "bin/python"),
            "-m",
            "benchmarks.peers",
            "stream",
            *(f"s3://{key}" for key in keys),
        ],
        **s3.variables,
    )
    return seconds


def install_runai() -> str | None:
    """Make .venv-peers; return why it could not be made, or None.

    It reads torch and numpy from this environment, so that only the streamer itself is new.
    """
    python = _PEERS / "bin/python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(_PEERS)], check=True)
        ours, theirs = sysconfig.get_path("purelib"), _PEERS / "lib" / _python() / "site-packages"
        (theirs / "warmline.pth").write_text(f"{ours}\n")
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        subprocess.run([*pip, _RUNAI], check=True, capture_output=True)
    except (subprocess.CalledProcessError, OSError) as error:
        return f"{_RUNAI} cannot be installed: {error}"
    return None


def _python() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


@contextmanager
def _scratch() -> Iterator[Path]:
    parent = _TMPFS if _TMPFS.is_dir() else None
    directory = Path(tempfile.mkdtemp(prefix="warmline-bench-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def _snapshot(repository: str, directory: str) -> float:
    from huggingface_hub import snapshot_download as download  # noqa: PLC0415 - not in the clock

    begun = time.perf_counter()
    download(repository, local_dir=directory)
    return time.perf_counter() - begun


def _object(bucket: str, key: str, path: str) -> float:
    import boto3  # noqa: PLC0415 - not in the clock

    client = boto3.client("s3")
    begun = time.perf_counter()
    client.download_file(bucket, key, path)
    return time.perf_counter() - begun


def _stream(urls: list[str]) -> float:
    from runai_model_streamer import SafetensorsStreamer  # noqa: PLC0415 - in .venv-peers only

    begun = time.perf_counter()
    with SafetensorsStreamer() as streamer:
        streamer.stream_files(urls)
        tensors = dict(streamer.get_tensors())
    seconds = time.perf_counter() - begun
    assert tensors
    return seconds


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "stream":
        print(_stream(rest))
    elif what == "object":
        print(_object(*rest))
    else:
        print(_snapshot(*rest))
