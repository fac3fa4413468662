"""The command line as it is typed, against a control plane over a real socket."""

import json
from importlib.metadata import version
from types import SimpleNamespace

import pytest

from cache_protocol.errors import OriginDeniedError
from cache_server.cli import commands
from tests.fakes.control_plane import TOKEN, control_plane
from tests.fakes.service import SOURCE, VOICE, chunks


def put(node) -> None:
    assert node("pipelines", "put", "voice", "--model", f"m={SOURCE}")[0] == 0


def test_put_registers_a_pipeline(node, bench):
    code, out, err = node("pipelines", "put", "voice", "--model", f"m={SOURCE}", "--pinned")
    assert (code, out, err) == (0, "voice: registered with 1 model(s)\n", "")
    assert bench.cache()["pinned"]


def test_put_registers_all_of_a_file(node, tmp_path):
    (tmp_path / "p.yaml").write_text(
        f"pipelines: [{{id: a, models: [{{name: m, source: '{SOURCE}'}}]}},"
        f" {{id: b, models: [{{name: m, source: '{SOURCE}'}}]}}]"
    )
    assert node("pipelines", "put", "--file", "p.yaml")[:2] == (0, "a: registered\nb: registered\n")


@pytest.mark.parametrize(
    "words",
    [
        ("pipelines", "put", "voice"),
        ("pipelines", "put", "--model", "m=file:///m"),
        ("pipelines", "put", "voice", "--model", "file:///m"),
        ("pipelines", "put", "voice", "--file", "p.yaml"),
        ("pipelines", "put", "--file", "missing.yaml"),
        ("pipelines", "put", "voice", "--model", "m=ftp://x"),
    ],
)
def test_wrong_usage_is_2_and_says_so_on_stderr(node, words):
    code, out, err = node(*words)
    assert (code, out) == (2, "")
    assert err.startswith("cache-server: ")


@pytest.mark.parametrize("words", [(), ("dance",), ("warm",), ("pipelines",), ("status", "--jso")])
def test_what_cannot_be_parsed_is_2_with_the_usage(run, words):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "usage" in err


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("serve",),
        ("warm",),
        ("status",),
        ("pipelines",),
        *(("pipelines", a) for a in ("put", "ls", "show", "rm")),
    ],
)
def test_every_command_has_help(run, words):
    code, out, _ = run(*words, "--help")
    assert code == 0
    assert "usage: cache-server" in out


def test_ls_and_show_are_tables_for_people_and_json_for_programs(node, bench):
    put(node)
    bench.warm()
    assert "voice" in node("pipelines", "ls")[1]
    assert "w.dat" in node("pipelines", "show", "voice")[1]
    assert json.loads(node("pipelines", "ls", "--json")[1])["pipelines"][0]["id"] == "voice"
    assert json.loads(node("pipelines", "show", "voice", "--json")[1])["cache"]["warm"]


def test_show_lists_what_was_left_out_and_the_switch_that_allows_it(node, bench, origin):
    origin.files |= {"w.onnx": b"w", "old.bin": b"p", "a\x1b[2Jb.py": b"c"}
    put(node)
    bench.warm()
    shown = node("pipelines", "show", "voice")[1]
    assert "old.bin" in shown
    assert "--allow-pickle" in shown
    assert r"a\x1b[2Jb.py" in shown
    assert "left out" not in node("pipelines", "ls")[1]


def test_put_says_what_a_model_allows(node, bench):
    words = ("--model", f"m={SOURCE}", "--allow-pickle", "--allow-code")
    assert node("pipelines", "put", "voice", *words)[0] == 0
    (model,) = bench.slot().registration.models
    assert (model.allow_pickle, model.allow_code) == (True, True)


def test_warm_waits_and_tells_in_json_lines(node, bench):
    put(node)
    code, out, _ = node("warm", "voice", "--wait")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert lines[-1]["state"] == "warm"
    assert lines[-1]["filled"] == lines[-1]["size"]


def test_warm_without_wait_answers_at_once(node, bench, origin):
    put(node)
    with origin.held():
        code, out, _ = node("warm", "voice")
        assert (code, out.startswith("voice: filling")) == (0, True)
    bench.settle()


def test_a_refresh_is_waited_for_although_the_slot_stays_warm(node, bench, origin):
    put(node)
    bench.warm()
    origin.files["w.dat"] = chunks(0.3, seed=8)
    assert node("warm", "voice", "--refresh", "--wait")[0] == 0
    assert bench.read("w.dat", bench.open()) == origin.files["w.dat"]


def test_a_refresh_that_fails_is_told_although_the_slot_stays_warm(node, bench, origin):
    put(node)
    bench.warm()
    origin.deny(OriginDeniedError("revoked"))
    code, _, err = node("warm", "voice", "--refresh", "--wait")
    assert (code, err.splitlines()[0]) == (5, "cache-server: revoked")
    assert node("warm", "voice", "--wait")[0] == 0


def test_a_wait_for_a_pipeline_that_is_evicted_meanwhile_ends(node, bench, origin, monkeypatch):
    put(node)
    with origin.held():
        evict = SimpleNamespace(sleep=lambda _: bench.service.removal.evict(VOICE, force=True))
        monkeypatch.setattr(commands, "time", evict)
        code, out, err = node("warm", "voice", "--wait")
    assert (code, json.loads(out.splitlines()[0])["state"]) == (1, "filling")
    assert "evicted" in err


def test_an_origin_that_says_no_is_5(node, origin):
    origin.deny(OriginDeniedError("gated"))
    put(node)
    code, _, err = node("warm", "voice", "--wait")
    said, step = err.splitlines()
    assert (code, said) == (5, "cache-server: gated")
    assert "HF_TOKEN" in step


def test_bytes_that_are_wrong_twice_are_6(node, origin):
    origin.corrupt("w.dat", 0, times=2)
    put(node)
    assert node("warm", "voice", "--wait")[0] == 6


def test_no_room_is_7(node, origin):
    origin.files["w.dat"] = chunks(7)
    put(node)
    code, _, err = node("warm", "voice", "--wait")
    assert code == 7
    assert "needed" in err


def test_an_unknown_pipeline_is_4(node):
    assert node("pipelines", "show", "nobody")[0] == 4
    assert node("warm", "nobody")[0] == 4


def test_a_wrong_token_is_4(node, monkeypatch):
    monkeypatch.setenv("CACHE_SERVER_ADMIN_TOKEN", "wrong")
    assert node("status")[0] == 4


def test_a_slot_in_use_is_1_and_force_removes_it(node, bench):
    put(node)
    bench.warm()
    bench.grant(bench.open())
    code, _, err = node("pipelines", "rm", "voice")
    assert (code, "1 replica" in err) == (1, True)
    assert node("pipelines", "rm", "voice", "--force")[0] == 0


def test_no_node_is_3(run):
    code, out, err = run("status", "--server", "http://127.0.0.1:1")
    assert (code, out) == (3, "")
    assert "no node answers at http://127.0.0.1:1" in err


@pytest.mark.parametrize("url", ["ftp://x", "x", "http://", "http://x:port", "http://[::1"])
def test_a_server_that_is_no_url_is_2(run, url):
    assert run("status", "--server", url)[0] == 2


def test_a_root_whose_node_does_not_run_is_3(run, tmp_path):
    code, _, err = run("status", "--root", str(tmp_path))
    assert (code, "no node.json" in err, "is the node running?" in err) == (3, True, True)


def test_a_root_that_is_no_directory_is_2(run, tmp_path):
    code, _, err = run("status", "--root", str(tmp_path / "typo"))
    assert (code, "is no directory" in err) == (2, True)


def test_a_root_of_another_user_is_told_as_such(run, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # root, who runs CI, may read it all
    code, _, err = run("status", "--root", str(tmp_path))
    assert (code, "is another user's: be that one" in err) == (2, True)


def test_the_version_is_told(run):
    assert run("--version")[:2] == (0, f"cache-server {version('warmline')}\n")


def test_address_and_token_are_found_in_root(bench, run, tmp_path):
    with control_plane(bench.service) as plane:
        (tmp_path / "node.json").write_text(json.dumps({"control": plane.url}))
        (tmp_path / "admin-token").write_text(TOKEN + "\n")
        assert run("status", "--root", str(tmp_path))[0] == 0


def test_a_token_that_was_read_from_a_file_may_end_with_its_newline(node, monkeypatch):
    monkeypatch.setenv("CACHE_SERVER_ADMIN_TOKEN", TOKEN + "\n")
    assert node("status")[0] == 0


def test_the_token_of_a_root_goes_to_no_other_server(bench, run, tmp_path):
    with control_plane(bench.service) as plane:
        (tmp_path / "node.json").write_text(json.dumps({"control": "http://127.0.0.1:1"}))
        (tmp_path / "admin-token").write_text(TOKEN + "\n")
        code, _, err = run("status", "--root", str(tmp_path), "--server", plane.url)
    assert (code, "token" in err) == (4, True)


def test_the_server_that_a_root_names_gets_its_token_also_when_it_is_typed(bench, run, tmp_path):
    with control_plane(bench.service) as plane:
        (tmp_path / "node.json").write_text(json.dumps({"control": plane.url}))
        (tmp_path / "admin-token").write_text(TOKEN + "\n")
        assert run("status", "--root", str(tmp_path), "--server", f"{plane.url}/")[0] == 0


def test_settings_that_are_wrong_end_serve_with_2(run, monkeypatch):
    monkeypatch.setenv("CACHE_SERVER_PROT", "80")
    code, _, err = run("serve")
    assert (code, "CACHE_SERVER_PORT" in err) == (2, True)


# Policy.


def test_evict_says_what_was_freed_and_keeps_the_registration(node, bench):
    put(node)
    bench.warm()
    assert node("evict", "voice")[:2] == (0, "voice: evicted, 1.7 MB freed\n")
    assert not bench.cache()["warm"]


def test_evict_of_a_slot_in_use_needs_force(node, bench):
    put(node)
    bench.warm()
    bench.grant(bench.open())
    code, _, err = node("evict", "voice")
    assert code == 1
    assert "1 replica reads voice" in err
    assert node("evict", "voice", "--force")[0] == 0


def test_pin_and_unpin(node, bench):
    put(node)
    assert node("pin", "voice")[:2] == (0, "voice: pinned\n")
    assert bench.cache()["pinned"]
    assert node("unpin", "voice")[:2] == (0, "voice: not pinned\n")
    assert not bench.cache()["pinned"]


def test_touch_makes_a_pipeline_hot(node, bench):
    put(node)
    assert node("touch", "voice")[:2] == (0, "voice: touched\n")
    assert bench.cache()["hot"]


def test_plan_eviction_lists_who_would_go(node, bench):
    put(node)
    bench.warm()
    code, out, _ = node("plan-eviction", "--need", "52MB")
    assert code == 0
    assert "voice" in out
    assert "would be freed" in out


def test_plan_eviction_says_why_nobody_goes(node, bench):
    put(node)
    bench.warm()
    bench.open()
    assert "nobody would go" in node("plan-eviction", "--need", "52MB")[1]
    assert "nobody has to go" in node("plan-eviction", "--need", "1MB")[1]
    assert json.loads(node("plan-eviction", "--need", "52MB", "--json")[1])["held"]["hot"] > 0


def test_put_with_warm_fills_at_once(node, bench):
    node("pipelines", "put", "voice", "--model", f"m={SOURCE}", "--warm")
    assert bench.settle() is None
    assert bench.cache()["warm"]


@pytest.mark.parametrize("name", ["", "Voice", "../x", "a b", "a/b"])
def test_a_name_that_no_pipeline_can_have_is_wrong_usage_of_every_command(run, name):
    for words in (("pipelines", "show"), ("pipelines", "rm"), ("warm",), ("evict",), ("boots",)):
        code, out, err = run(*words, name)
        assert (code, out) == (2, "")
        assert "pipeline id" in err


def test_names_with_brackets_are_shown_as_they_are(node, bench):
    source = "file:///models/[bold]x[/y]"
    assert node("pipelines", "put", "voice", "--model", f"m={source}")[0] == 0
    code, out, err = node("pipelines", "ls")
    assert (code, err) == (0, "")
    assert source in out
    assert node("pipelines", "show", "voice")[0] == 0


def test_what_is_pinned_is_seen_in_the_list(node, bench):
    put(node)
    node("pin", "voice")
    assert "pinned" in node("pipelines", "ls")[1]


def test_a_token_that_cannot_be_sent_is_wrong_usage(run, monkeypatch):
    monkeypatch.setenv("CACHE_SERVER_ADMIN_TOKEN", "two\nlines")
    code, out, err = run("status", "--server", "http://127.0.0.1:1")
    assert (code, out) == (2, "")
    assert "control characters" in err


@pytest.mark.parametrize("url", ["nonsense", "postgresql+nodriver://x/y", "oracle://x/y"])
def test_a_database_that_cannot_be_used_ends_serve_with_2(run, url, tmp_path):
    words = ("--root", str(tmp_path / "root"), "--port", "0", "--data-port", "0")
    code, out, err = run("serve", *words, "--database-url", url)
    assert (code, out) == (2, "")
    assert err.startswith("cache-server: the database")
