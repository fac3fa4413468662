"""Boots whose engine adopts memory on a device, as real processes over the stand-in of libcuda."""

import hashlib
from pathlib import Path

import pytest

from cache_protocol.plans import dump_plan
from tests.fakes import planned
from tests.fakes.boots import PATIENT, REPOSITORY, Booting
from tests.fakes.libcuda import compiled
from tests.fakes.node import FakeNode

CONTENT = planned.checkpoint(layers=3, size=1024)
(PLAN,) = planned.plans(CONTENT, ranks=1, device="cuda")
FILES = {"config.json": b"{}", planned.PATH: CONTENT}
UUID = "GPU-00000000-0000-0000-0000-000000000000"
SHARED = "/memfd:shared"  # device memory of the stand-in


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("libcuda"))


@pytest.fixture
def boot(library, tmp_path):
    """Return what boots on a device, with vLLM said to be installed and its plan at the node."""
    package = tmp_path / "packages/vllm-0.32.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0\n")

    def starting(device, *engine, **environment):
        env = {"PYTHONPATH": f"{REPOSITORY}:{package.parent}", "LD_LIBRARY_PATH": str(library)}
        return Booting(
            tmp_path / "boot", node.url, "--device", device,
            handover=True, engine=("--adopts", *engine), env=env | environment, agent=PATIENT,
        )  # fmt: skip

    with FakeNode({"llm": FILES}) as node:
        node.plans["llm", PLAN.key.digest] = dump_plan(PLAN)
        yield starting


def plain():
    return {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}


@pytest.mark.parametrize(("device", "named"), [("cuda:0", "cuda:0"), ("auto", "cuda")])
def test_an_engine_adopts_what_was_laid_out_on_its_device(boot, device, named):
    with boot(device) as booted:
        assert booted.finished() == 0, booted.words()
    laid_out = hashlib.sha256(planned.laid_out(CONTENT, PLAN)).hexdigest()
    got = booted.event("loaded")["got"]
    assert got == {"shard": laid_out, "plan": PLAN.fingerprint, "device": UUID}
    report = booted.report()
    assert report["device"] == named
    first, *_, last = report["notes"]
    assert first == f"llm: laid out on {named} as vllm 0.32.0 (tp1) reads it"
    assert last.endswith("of parameters are where they arrived, without a copy")


def test_a_driver_error_in_the_middle_costs_no_boot_and_leaves_the_device_to_the_engine(boot):
    with boot("cuda:0", "--stay", LIBCUDA_FAIL="cuMemcpyHtoDAsync 700") as booted:
        assert booted.event("loaded")["got"] == plain()
        report = booted.report()
        assert SHARED not in Path(f"/proc/{booted.process.pid}/maps").read_text()
    assert report["ok"]
    why = "cuda:0 failed, its weights come in host memory: cuMemcpyHtoDAsync failed with"
    assert any(note.startswith(why) for note in report["notes"]), report["notes"]


def test_a_device_that_is_not_there_costs_no_boot(boot):
    with boot("cuda:7") as booted:
        assert booted.finished() == 0, booted.words()
    assert booted.event("loaded")["got"] == plain()
    report = booted.report()
    assert report["ok"]
    notes = "; ".join(report["notes"])
    assert "there is no cuda:7: the devices here are 0 to 1" in notes
    assert "weights come in host memory; the engine copies them to cuda:7" in notes
