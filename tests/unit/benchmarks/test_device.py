import pytest

from benchmarks import device
from benchmarks.device_rows import OnDevice
from benchmarks.harness import SkippedError


def test_without_a_gpu_nothing_is_measured_and_nothing_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["device"])
    monkeypatch.setattr(device, "_device", lambda: None)
    assert device.main() == 0
    assert "no GPU can be used here" in capsys.readouterr().out


def test_what_the_fake_driver_did_is_never_called_a_device():
    assert device._about(1, 1, 1, None)["device"] == "the fake driver: not a device"


def test_rows_are_skipped_when_the_time_of_a_run_is_over():
    run = OnDevice(1, 1, 1, "fake", None, ends=0.0)
    with pytest.raises(SkippedError, match="8 minutes of a run are over"):
        run.result_of("benchmarks.device_rates", "copy")
