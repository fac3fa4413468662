"""Unmodified programs of the Hugging Face world read a slot, each with a replica token of its own.

Against a cold, a filling and a warm slot, with the hub well, down, and rate-limiting.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from huggingface_hub import HfApi, constants, hf_hub_download, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get

from benchmarks.node import Node, clean_environment
from tests.fakes.http_judge import judge
from tests.fakes.hub import Fault, Hub
from tests.fakes.hub_client import usual_client
from tests.fakes.recorder import Recorder
from tests.integration.conftest import Hold
from tests.integration.content import chunks, tree, write
from tests.integration.programs import cache_of, until

FILES = {
    "README.md": b"# tiny\n" * 100,
    "config.json": b'{"model_type": "tiny"}',
    "sub/deep er.json": b"{}",
    "empty.txt": b"",
    "model.dat": chunks(2, more=17),
}


@dataclass
class Door:
    """A pipeline's endpoint, and a token that opens it."""

    node: Node
    pipeline: str
    repo: str
    token: str
    recorder: Recorder
    cache: Path

    @property
    def endpoint(self) -> str:
        return f"{self.recorder.url}/hf/{self.pipeline}"

    def snapshot(self, **options: object) -> Path:
        """Download the whole repository as a fresh replica does."""
        known = {"endpoint": self.endpoint, "token": self.token, "cache_dir": self.cache}
        return Path(snapshot_download(self.repo, **{**known, **options}))  # type: ignore[arg-type]

    def file(self, name: str, **options: object) -> Path:
        known = {"endpoint": self.endpoint, "token": self.token, "cache_dir": self.cache}
        return Path(hf_hub_download(self.repo, name, **{**known, **options}))  # type: ignore[call-overload]

    @property
    def api(self) -> HfApi:
        return HfApi(endpoint=self.endpoint, token=self.token)


@pytest.fixture(autouse=True)
def _usual() -> Iterator[None]:
    with usual_client():
        yield


@pytest.fixture(scope="module")
def recorder(node: Node) -> Iterator[Recorder]:
    with Recorder(node.control) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def token(node: Node) -> str:
    made: str = node.call("POST", "/v1/tokens", {"role": "replica"})["token"]
    return made


@pytest.fixture
def door(
    node: Node, hub: Hub, pipeline: str, repo: str, token: str, recorder: Recorder, scratch: Path
) -> Door:
    """A cold pipeline of a repository with FILES."""
    hub.commit(repo, FILES)
    node.put(pipeline, {"m": f"hf://{repo}"})
    until(lambda: _resolved(node, pipeline))
    recorder.seen.clear()
    return Door(node, pipeline, repo, token, recorder, scratch / "cache")


def _resolved(node: Node, pipeline: str) -> bool:
    return "resolved" in node.call("GET", f"/v1/pipelines/{pipeline}")["models"][0]


def asked_of(hub: Hub, repo: str) -> int:
    return sum(repo in request.path for request in hub.log)


# huggingface_hub.


def test_a_snapshot_of_a_cold_slot_is_the_repository_and_every_request_stays_in_the_prefix(
    door: Door, hub: Hub
) -> None:
    path = door.snapshot()
    assert tree(path) == FILES
    assert path.name == hub.repositories[door.repo].refs["main"]
    for seen in door.recorder.seen:
        assert seen.path.startswith(f"/hf/{door.pipeline}/"), seen
        assert seen.status in (200, 302) or seen.path.endswith("/agent-harnesses"), seen
        assert not [name for name in seen.headers if "xet" in name]


def test_files_of_a_filling_slot_come_as_their_chunks_land(
    door: Door, hub: Hub, hold: Hold
) -> None:
    gate = hold(f"{door.repo}/", at="cdn", chunk=2)  # the last 17 bytes
    paths: list[Path] = []
    client = Thread(target=lambda: paths.append(door.snapshot()))
    client.start()
    # Its large file has begun to arrive although the hub holds its end back.
    until(lambda: arrived(door.cache) >= len(chunks(1)))
    assert cache_of(door.node, door.pipeline)["state"] == "filling"
    gate.set()
    client.join()
    assert tree(paths[0]) == FILES


def test_a_client_that_gives_up_on_a_hub_that_stalls_in_a_file_comes_back_for_the_rest(
    door: Door, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1
    )  # second without a byte; usually 10
    gate = hold(f"{door.repo}/", at="cdn", chunk=2)
    paths: list[Path] = []
    client = Thread(target=lambda: paths.append(door.file("model.dat")))
    client.start()
    until(lambda: arrived(door.cache) >= len(chunks(1)))
    asked = counted(door, "warmline_data_requests_total")
    until(lambda: counted(door, "warmline_data_requests_total") > asked)
    sent = served(door)
    gate.set()
    client.join()
    assert paths[0].read_bytes() == FILES["model.dat"]
    assert served(door) - sent <= len(FILES["model.dat"]) - len(chunks(1)), "it began anew"


def arrived(cache: Path) -> int:
    """Return the size of the largest file that is still being downloaded to ``cache``."""
    sizes = [0]
    with suppress(FileNotFoundError):  # it became whole, or a directory went while it was looked at
        sizes.extend(path.stat().st_size for path in cache.rglob("*.incomplete"))
    return max(sizes)


@pytest.mark.parametrize("status", [200, 429, 503])
def test_a_warm_slot_is_read_whatever_the_hub_answers_and_the_hub_is_not_asked(
    door: Door, hub: Hub, status: int
) -> None:
    door.node.warm(door.pipeline)
    asked = asked_of(hub, door.repo)
    if status != 200:
        hub.order(Fault(door.repo, times=1000, status=status))
    assert tree(door.snapshot()) == FILES
    assert asked_of(hub, door.repo) == asked


@pytest.mark.parametrize(("status", "headers"), [(429, {"Retry-After": "1"}), (503, {})])
def test_a_client_waits_out_a_hub_that_limits_its_rate_or_falls_over_while_a_slot_fills(
    door: Door, hub: Hub, status: int, headers: dict[str, str]
) -> None:
    hub.order(Fault(f"{door.repo}/", at="cdn", status=status, headers=headers))
    hub.order(Fault(f"{door.repo}/resolve", at="hub", status=status, headers=headers))
    hub.order(Fault(f"{door.repo}/", at="cdn", chunk=1, after=10**6, reset=True))
    assert tree(door.snapshot()) == FILES


def test_a_hub_that_is_down_is_never_taken_for_a_repository_that_is_not_there(
    node: Node, hub: Hub, pipeline: str, repo: str, token: str, scratch: Path
) -> None:
    hub.commit(repo, FILES)
    down = Fault(f"models/{repo}", times=1000, status=503)
    hub.order(down)
    node.put(pipeline, {"m": f"hf://{repo}"})
    api = HfApi(endpoint=f"{node.control}/hf/{pipeline}", token=token)
    with pytest.raises(HfHubHTTPError) as refused:
        api.model_info(repo)
    assert refused.value.response.status_code in (429, 503)
    assert refused.value.response.headers["Retry-After"]
    down.times = 0
    path = until(lambda: _downloaded(api, repo, scratch))
    assert tree(path) == FILES


def _downloaded(api: HfApi, repo: str, scratch: Path) -> Path | None:
    try:
        return Path(api.snapshot_download(repo, cache_dir=scratch))
    except RepositoryNotFoundError:
        raise
    except HfHubHTTPError:
        return None


def test_a_download_that_was_cut_goes_on_at_its_next_byte(door: Door) -> None:
    door.node.warm(door.pipeline)
    whole, had = FILES["model.dat"], len(chunks(1))
    to = door.cache.parent / "partial"
    to.write_bytes(whole[:had])
    before = served(door)
    with to.open("ab") as file:
        url = hf_hub_url(door.repo, "model.dat", endpoint=door.endpoint)
        headers = {"Authorization": f"Bearer {door.token}"}
        http_get(url, file, resume_size=had, headers=headers, expected_size=len(whole))
    assert to.read_bytes() == whole
    assert served(door) - before == len(whole) - had


def served(door: Door) -> int:
    """Return how many bytes the data plane has sent."""
    return counted(door, "warmline_served_bytes_total")


def counted(door: Door, name: str) -> int:
    """Return what the node has counted as ``name``."""
    connection = HTTPConnection(urlsplit(door.node.control).netloc, timeout=30)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {door.node.token}"})
    text = connection.getresponse().read().decode()
    connection.close()
    (line,) = [x for x in text.splitlines() if x.startswith(f"{name} ")]
    return int(float(line.split()[1]))


def environment(door: Door, **more: str) -> dict[str, str]:
    """Return what an operator sets for such a program, and nothing else."""
    return clean_environment(
        HF_ENDPOINT=door.endpoint,
        HF_TOKEN=door.token,
        HF_HOME=str(door.cache.parent / "home"),
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        **more,
    )


def test_what_a_client_may_ask_beside_files_is_answered(door: Door, hub: Hub) -> None:
    commit = hub.repositories[door.repo].refs["main"]
    api = door.api
    assert api.whoami()["name"] == door.token.split("_")[1]
    assert api.list_repo_refs(door.repo).branches[0].target_commit == commit
    assert sorted(api.list_repo_files(door.repo)) == sorted(FILES)
    assert [f.path for f in api.list_repo_tree(door.repo, "sub")] == ["sub/deep er.json"]
    (weights,) = api.get_paths_info(door.repo, ["model.dat"])
    assert weights.size == len(FILES["model.dat"])
    info = api.model_info(door.repo, revision=commit, files_metadata=True)
    assert {s.rfilename: s.size for s in info.siblings or ()} == {
        name: len(data) for name, data in FILES.items()
    }
    api.auth_check(door.repo)
    assert api.file_exists(door.repo, "config.json")
    assert not api.file_exists(door.repo, "chat_template.jinja")


def test_each_thing_that_is_not_there_is_the_client_s_own_error(door: Door) -> None:
    with pytest.raises(RepositoryNotFoundError):
        door.api.model_info("org/another")
    with pytest.raises(RevisionNotFoundError):
        door.api.model_info(door.repo, revision="v9")
    with pytest.raises(RemoteEntryNotFoundError):
        door.file("added_tokens.json")
    remembered = next(door.cache.rglob(".no_exist/*/added_tokens.json"))
    assert len(remembered.parent.name) == 40
    stranger = HfApi(endpoint=door.endpoint, token="wl_nobody_none")
    with pytest.raises(HfHubHTTPError) as refused:
        stranger.model_info(door.repo)
    assert refused.value.response.status_code == 401


def test_an_id_of_one_segment_and_a_tag_lead_to_the_same_files(
    node: Node, hub: Hub, pipeline: str, token: str, scratch: Path
) -> None:
    hub.commit(pipeline, FILES, branch="refs/pr/1")
    node.put(pipeline, {"m": f"hf://{pipeline}@refs/pr/1"})
    api = HfApi(endpoint=f"{node.control}/hf/{pipeline}", token=token)
    for revision in ("refs/pr/1", "main", None):
        path = api.snapshot_download(pipeline, revision=revision, cache_dir=scratch)
        assert tree(Path(path)) == FILES


def test_a_directory_s_models_are_repositories_of_their_pipeline(
    node: Node, pipeline: str, token: str, scratch: Path
) -> None:
    source = write(scratch / "source", FILES)
    node.put(pipeline, {"llm": f"file://{source}"})
    api = HfApi(endpoint=f"{node.control}/hf/{pipeline}", token=token)
    first = Path(api.snapshot_download(f"{pipeline}/llm", cache_dir=scratch / "cache"))
    assert tree(first) == FILES
    node.warm(pipeline)
    assert api.model_info(f"{pipeline}/llm").sha == first.name


# Programs.


def test_hf_download_brings_a_repository_to_a_directory(door: Door) -> None:
    to = door.cache.parent / "to"
    program = Path(sys.executable).with_name("hf")
    done = subprocess.run(
        [program, "download", door.repo, "--local-dir", to],
        env=environment(door),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {name: data for name, data in tree(to).items() if not name.startswith(".cache/")}
    assert found == FILES
    outside = [s for s in door.recorder.seen if not s.path.startswith(f"/hf/{door.pipeline}/")]
    assert outside == []


def test_redbot_finds_no_error_on_a_file_s_url(door: Door) -> None:
    door.node.warm(door.pipeline)
    url = f"{door.node.control}/hf/{door.pipeline}/{door.repo}/resolve/main/README.md"
    notes = judge(url, door.token)
    assert [note["summary"] for note in notes if note["level"] == "bad"] == []
    said = json.dumps(notes)
    assert "conditional requests are supported" in said
    assert "returned the correct partial content" in said
