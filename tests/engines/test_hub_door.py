"""transformers and vLLM as people install them, given a repository id and HF_ENDPOINT, no more."""

import json
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from benchmarks.node import REPOSITORY, running_node
from tests.engines.engine import environment
from tests.fakes.hub import Fault, Hub
from tests.fakes.recorder import Recorder
from tests.integration.content import tree

pytestmark = pytest.mark.timeout(300)
REPO = "org/tiny"


def test_transformers_and_vllm_run_what_a_cold_slot_has_and_again_from_a_warm_one_without_the_hub(
    vllm_python, tiny, tmp_path
):
    home = tmp_path / "home"
    with Hub(tmp_path / "hub") as hub:
        hub.commit(REPO, tree(tiny))
        env = {"HF_ENDPOINT": hub.endpoint}
        with running_node(tmp_path / "node", env=env) as node, Recorder(node.control) as recorder:
            node.put("voice", {"llm": f"hf://{REPO}"})
            made = node.call("POST", "/v1/tokens", {"role": "replica"})
            program = environment() | {
                "HF_HUB_OFFLINE": "0",
                "TRANSFORMERS_OFFLINE": "0",
                "HF_ENDPOINT": f"{recorder.url}/hf/voice",
                "HF_TOKEN": made["token"],
            }
            with programs(vllm_python, program | {"HF_HOME": str(home)}, tmp_path) as opened:
                cold, usual = opened(REPO), opened(tiny)
                hub.order(Fault("/", times=10_000, status=503))
                asked = len(hub.log)
                shutil.rmtree(home)
                assert cold == opened(REPO) == usual
                assert len(hub.log) == asked
    assert not [s for s in recorder.seen if not s.path.startswith("/hf/voice/")]
    # What it looks up without a token, and can do without.
    asked = [s for s in recorder.seen if not s.path.endswith("/agent-harnesses")]
    assert not [s for s in asked if s.status not in (200, 206, 302, 404)]


@contextmanager
def programs(python, env, tmp_path):
    """Give a function that returns what the programs, in one process, make of a name."""
    log = tmp_path / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [python, "-m", "tests.engines.hub_programs"],
            cwd=REPOSITORY,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):

        def opened(name):
            process.stdin.write(f"{name}\n")
            process.stdin.flush()
            line = process.stdout.readline()
            assert line, log.read_text()[-6000:]
            return json.loads(line)

        try:
            yield opened
        finally:
            process.kill()
