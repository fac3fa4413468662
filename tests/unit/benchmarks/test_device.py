from benchmarks import device


def test_without_a_gpu_nothing_is_measured_and_nothing_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["device"])
    monkeypatch.setattr(device, "_device", lambda: None)
    assert device.main() == 0
    assert "no GPU can be used here" in capsys.readouterr().out


def test_what_the_fake_driver_did_is_never_called_a_device():
    assert device._about(1, 1, 1, None)["device"] == "the fake driver: not a device"
