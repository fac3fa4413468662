"""The stand-in hub is faithful: the real huggingface_hub client works against it.

The client runs as a process of its own, because its session is one per process and the server's
adapter makes it one of single attempts.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.hub import Fault, Hub

FILES = {
    "model-00001-of-00002.safetensors": os.urandom(3_000_000),
    "model-00002-of-00002.safetensors": os.urandom(1_000_001),
    "config.json": b"{}",
    "sub/tokenizer with blank.json": b"[]",
    "empty.txt": b"",
}
WEIGHTS = "model-00001-of-00002.safetensors"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(tmp_path / "hub", page=2) as hub:
        hub.commit("org/name", FILES)
        yield hub


def client(hub: Hub, home: Path, call: str, token: str = "") -> subprocess.CompletedProcess[str]:
    program = f"from huggingface_hub import *\n{call}"
    env = {
        "PATH": os.environ["PATH"],
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **({"HF_TOKEN": token} if token else {}),
    }
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=50, check=False)


def snapshot(
    hub: Hub, directory: Path, *, revision: str = "main", token: str = ""
) -> subprocess.CompletedProcess[str]:
    call = f"snapshot_download('org/name', revision={revision!r}, local_dir={str(directory)!r})"
    return client(hub, directory.with_name("home"), call, token)


def content(directory: Path) -> dict[str, bytes]:
    """Return the files of a snapshot, without the client's own notes."""
    files = (f for f in directory.rglob("*") if f.is_file())
    found = {str(f.relative_to(directory)): f.read_bytes() for f in files}
    return {path: data for path, data in found.items() if not path.startswith(".cache/")}


def test_a_snapshot_has_every_file_over_several_pages(hub: Hub, tmp_path: Path):
    done = snapshot(hub, tmp_path / "to")
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "to") == FILES
    assert len(hub.asked("hub", "/tree/")) == 3


def test_each_byte_is_sent_once_and_weights_come_from_the_cdn_without_a_token(
    hub: Hub, tmp_path: Path
):
    snapshot(hub, tmp_path / "to", token="hf_valid")
    assert hub.sent == {f"org/name/{p}": len(d) for p, d in FILES.items() if d}
    assert {r.authorization for r in hub.asked("cdn")} == {None}
    assert {r.authorization for r in hub.asked("hub", "/resolve/")} == {"Bearer hf_valid"}


def test_a_tag_brings_the_files_of_its_commit(hub: Hub, tmp_path: Path):
    repository = hub.repository("org/name")
    repository.refs["v1"] = repository.refs["main"]
    hub.commit("org/name", {"config.json": b"{'new': 1}"})
    assert snapshot(hub, tmp_path / "to", revision="v1").returncode == 0
    assert content(tmp_path / "to") == FILES


@pytest.mark.parametrize(
    ("order", "error"),
    [
        ("gated", "GatedRepoError"),
        ("private", "RepositoryNotFoundError"),
        ("revision", "RevisionNotFoundError"),
    ],
)
def test_a_refusal_is_understood(hub: Hub, tmp_path: Path, order: str, error: str):
    hub.repository("org/name").gated = order == "gated"
    hub.repository("org/name").private = order == "private"
    done = snapshot(hub, tmp_path / "to", revision="v9" if order == "revision" else "main")
    assert error in done.stderr


def test_a_gated_and_private_repository_opens_with_a_token(hub: Hub, tmp_path: Path):
    hub.repository("org/name").gated = hub.repository("org/name").private = True
    done = snapshot(hub, tmp_path / "to", token="hf_valid")
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "to") == FILES


def test_the_client_reads_paths_info_and_who_it_is(hub: Hub, tmp_path: Path):
    call = (
        "api = HfApi()\n"
        "[file] = api.get_paths_info('org/name', 'config.json')\n"
        "print(file.size, api.whoami()['name'], api.file_exists('org/name', 'nothing.json'))"
    )
    done = client(hub, tmp_path, call, token="hf_valid")
    assert done.stdout.split() == ["2", "somebody", "False"], done.stderr


def test_wrong_bytes_are_a_success_to_the_client(hub: Hub, tmp_path: Path):
    """The reason why verification is ours."""
    hub.order(Fault(WEIGHTS, at="cdn", wrong_chunk=0))
    assert snapshot(hub, tmp_path / "to").returncode == 0
    assert content(tmp_path / "to")[WEIGHTS][1:] == FILES[WEIGHTS][1:]
    assert content(tmp_path / "to")[WEIGHTS] != FILES[WEIGHTS]


def test_served_as_a_program_a_directory_is_a_hub(tmp_path: Path):
    repository = tmp_path / "served/org/name"
    repository.mkdir(parents=True)
    (repository / "config.json").write_bytes(b"{}")
    command = [sys.executable, "-m", "tests.fakes.hub", "--root", str(tmp_path / "served")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip()
        call = f"snapshot_download('org/name', local_dir={str(tmp_path / 'to')!r})"
        env = {"PATH": os.environ["PATH"], "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path)}
        program = f"from huggingface_hub import *\n{call}"
        subprocess.run([sys.executable, "-c", program], env=env, check=True, timeout=50)
        process.terminate()
    assert process.returncode == 0
    assert content(tmp_path / "to") == {"config.json": b"{}"}
