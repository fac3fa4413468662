"""The hub's door over a real socket: statuses, headers and errors, without a client's patience."""

import hashlib
import json
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from cache_protocol.digests import git_blob_hash
from cache_protocol.errors import OriginDeniedError, OriginNotFoundError, OriginUnavailableError
from cache_protocol.tickets import check
from cache_server.core.content import ModelSpec
from cache_server.core.hub_tokens import hub_spelling
from cache_server.core.key_ring import LONGEST_LIFE
from cache_server.core.tenants import Quotas, Tenant
from cache_server.doors.hub import documents, metadata, patience, views
from cache_server.store.ticket_keys import TicketKeys
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import running_service
from tests.unit.cache_server.doors.hub.conftest import LARGE, SMALL, SOURCE, fill, open_door

INFO = "/hf/voice/api/models/org/name"
FILE = "/hf/voice/org/name/resolve/main/config.json"
WEIGHTS = "/hf/voice/org/name/resolve/main/w.dat"
PROBLEM = "application/problem+json"


def says(answer, status, code=None):
    """Whether ``answer`` refuses in the hub's words."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-error-message"]
    assert (answer.status, answer.headers.get("x-error-code")) == (status, code)
    return True


# Files.


def git_id(data):
    seen = git_blob_hash(len(data))
    seen.update(data)
    return seen.hexdigest()


def test_a_small_file_is_sent_from_here_with_its_commit_and_git_id(door):
    got = door.ask("GET", FILE)
    assert (got.status, got.body) == (200, SMALL)
    assert got.headers["x-repo-commit"] == door.commit
    assert got.headers["etag"] == f'"{git_id(SMALL)}"'
    assert got.headers["accept-ranges"] == "bytes"


def test_head_says_what_get_would_and_sends_nothing(door):
    head, get = door.ask("HEAD", FILE), door.ask("GET", FILE)
    assert (head.status, head.body) == (200, b"")
    for each in (head, get):
        for name in ("date", "x-request-id"):
            del each.headers[name]
    assert head.headers == get.headers


def test_an_empty_file_is_a_whole_answer(door):
    got = door.ask("GET", "/hf/voice/org/name/resolve/main/sub/empty.txt")
    assert (got.status, got.body, got.headers["content-length"]) == (200, b"", "0")


@pytest.mark.parametrize(
    ("span", "begin", "end"), [("bytes=2-5", 2, 6), ("bytes=4-", 4, 15), ("bytes=-3", 12, 15)]
)
def test_a_range_of_a_small_file_is_that_range(door, span, begin, end):
    got = door.ask("GET", FILE, headers={"Range": span})
    assert (got.status, got.body) == (206, SMALL[begin:end])
    assert got.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(SMALL)}"


def test_a_range_outside_of_a_file_is_refused_with_its_size(door):
    got = door.ask("GET", FILE, headers={"Range": "bytes=15-"})
    assert says(got, 416)
    assert got.headers["content-range"] == f"bytes */{len(SMALL)}"


def test_a_client_that_has_the_file_is_told_so(door):
    tag = door.ask("HEAD", FILE).headers["etag"]
    got = door.ask("GET", FILE, headers={"If-None-Match": tag})
    assert (got.status, got.body, got.headers["etag"]) == (304, b"", tag)
    assert says(door.ask("GET", FILE, headers={"If-Match": '"other"'}), 412)


def test_what_lies_behind_a_commit_may_be_kept_for_good_and_a_branch_is_asked_again(door):
    by_commit = door.ask("GET", FILE.replace("main", door.commit)).headers["cache-control"]
    assert "immutable" in by_commit
    assert door.ask("GET", FILE).headers["cache-control"] == "private, no-cache"


def test_no_browser_takes_a_repository_s_file_for_a_page_of_the_node(door):
    headers = door.ask("GET", FILE).headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_large_file_is_at_the_data_plane_with_a_right_to_read_it_for_an_hour(door, method):
    got = door.ask(method, WEIGHTS)
    place = urlsplit(got.headers["location"])
    assert (got.status, place.port, got.body) == (302, 8081, b"")
    ticket = check(TicketKeys(door.bench.root.path)(), place.path, place.query, time.time())
    assert ticket.tenant == "default"
    assert int(parse_qs(place.query)["expires"][0]) - time.time() > LONGEST_LIFE - 60
    assert got.headers["x-repo-commit"] == door.commit
    assert got.headers["x-linked-size"] == str(len(LARGE))
    assert got.headers["x-linked-etag"] == f'"{hashlib.sha256(LARGE).hexdigest()}"'


def test_while_a_slot_fills_its_files_are_at_the_data_plane_which_waits(api, bench, origin):
    bench.put(ModelSpec("m", SOURCE))
    with origin.held():
        got = api.ask("HEAD", FILE)
        assert (got.status, got.headers["x-linked-size"]) == (302, str(len(SMALL)))
    assert bench.settle() is None
    assert api.ask("HEAD", FILE).status == 200


def test_a_file_that_is_not_there_names_the_commit_that_lacks_it(door):
    for method in ("HEAD", "GET"):
        got = door.ask(method, FILE.replace("config", "added_tokens"))
        assert says(got, 404, "EntryNotFound")
        assert got.headers["x-repo-commit"] == door.commit


def test_a_file_that_was_left_out_says_why(api, bench, origin):
    origin.files["modeling.py"] = b"import os"
    bench.put(ModelSpec("m", SOURCE))
    assert bench.warm() is None
    got = api.ask("GET", FILE.replace("config.json", "modeling.py"))
    assert says(got, 404, "EntryNotFound")
    assert "allow_code" in got.json["error"]


def test_what_another_repository_of_the_pipeline_left_out_is_not_said_to_be_of_this_one(
    tmp_path, origin, quick_retries
):
    other = MemoryOrigin({"config.json": b"{}", "modeling.py": b"import os"})
    origins = MemoryOrigins({SOURCE: origin, "hf://org/other": other})
    with running_service(tmp_path / "two", origins) as bench, open_door(bench) as api:
        bench.reconciled()
        bench.put(ModelSpec("m", SOURCE), ModelSpec("o", "hf://org/other"))
        assert bench.warm() is None
        got = api.ask("GET", FILE.replace("config.json", "modeling.py"))
        assert says(got, 404, "EntryNotFound")
        assert "has no file 'modeling.py' here" in got.json["error"]


def test_a_generation_that_was_replaced_is_read_on_by_its_commit(api, warm, origin):
    commit = warm.slot().current.content.models[0].revision
    assert api.ask("GET", FILE).status == 200  # takes a hold
    origin.files["config.json"] = b"{}"
    assert warm.warm(refresh=True) is None
    warm.keep_house()
    assert api.ask("GET", FILE).body == b"{}"
    old = api.ask("GET", FILE.replace("main", commit))
    assert (old.body, old.headers["x-repo-commit"]) == (SMALL, commit)


# Metadata.


def test_a_tree_is_paged_by_links_that_stay_in_the_prefix(door, monkeypatch):
    monkeypatch.setattr(documents, "PAGE", 3)
    first = door.ask("GET", f"{INFO}/tree/main?recursive=true&expand=false")
    link = first.headers["link"]
    assert link.endswith('>; rel="next"')
    assert link.startswith(f"<{door.url}{INFO}/tree/main?")
    path = link[1:].partition(">")[0].removeprefix(door.url)
    second = door.ask("GET", path)
    assert "link" not in second.headers
    assert [row["path"] for row in first.json + second.json] == [
        "config.json",
        "sub",
        "sub/empty.txt",
        "w.dat",
    ]


def test_a_repository_of_very_many_files_is_listed_in_a_thread(api, warm, monkeypatch):
    for module in (metadata, views):
        monkeypatch.setattr(module, "MANY", 0)
    (tree, info) = (api.ask("GET", f"{INFO}{path}").json for path in ("/tree/main", ""))
    assert [row["path"] for row in tree] == ["config.json", "sub", "w.dat"]
    assert len(info["siblings"]) == 3


def test_the_next_page_of_a_directory_of_any_name_can_be_asked_for(api, bench, origin, monkeypatch):
    origin.files |= {"目録/a.txt": b"a", "目録/b c.txt": b"b"}
    fill(bench)
    monkeypatch.setattr(documents, "PAGE", 1)
    first = api.ask("GET", f"{INFO}/tree/main/%E7%9B%AE%E9%8C%B2?recursive=true")
    link = first.headers["link"][1:].partition(">")[0].removeprefix(api.url)
    assert [row["path"] for row in api.ask("GET", link).json] == ["目録/b c.txt"]
    got = api.ask("GET", "/hf/voice/org/name/resolve/main/%E7%9B%AE%E9%8C%B2/b%20c.txt")
    assert got.body == b"b"
    assert "%E7" not in got.headers["content-disposition"]  # the name alone


def test_a_directory_that_is_not_there_is_an_entry_that_is_not_there(door):
    got = door.ask("GET", f"{INFO}/tree/main/additional_chat_templates?recursive=false")
    assert says(got, 404, "EntryNotFound")


@pytest.mark.parametrize("query", ["cursor=-1", "cursor=x", "limit=1e9", "cursor=99999999999"])
def test_a_page_that_is_no_number_is_refused(door, query):
    assert says(door.ask("GET", f"{INFO}/tree/main?{query}"), 400)


def test_paths_are_asked_for_with_a_form_or_with_json(door):
    path = f"{INFO}/paths-info/main"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    asked = [
        door.ask("POST", path, {"paths": ["config.json", "nope"]}),
        _posted(door, path, b"paths=config.json&paths=nope&expand=False", form),
    ]
    for got in asked:
        assert [row["path"] for row in got.json] == ["config.json"]


def _posted(door, path, body, headers):
    connection = door.connect()
    try:
        connection.request("POST", path, body, headers | {"Authorization": "Bearer the-token"})
        return door.receive(connection)
    finally:
        connection.close()


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"paths": "x"}', b'{"paths": [1]}', b"[" * 100_000, b"\xff"]
)
def test_a_body_that_names_no_paths_is_refused(door, body):
    assert says(door.ask("POST", f"{INFO}/paths-info/main", body), 400)


def test_whoami_names_the_token_and_nothing_secret(door):
    token = door.ask("POST", "/v1/tokens", {"role": "replica"}).json["token"]
    got = door.ask("GET", "/hf/voice/api/whoami-v2", token=token)
    assert got.json["name"] == token.split("_")[1]
    assert token.split("_", 2)[2] not in got.body.decode()


# Failures, in the hub's words.


def test_another_repository_is_not_there(door):
    assert says(door.ask("GET", "/hf/voice/api/models/org/other"), 404, "RepoNotFound")
    assert says(door.ask("GET", "/hf/voice/other/resolve/main/x"), 404, "RepoNotFound")
    for path in ("api/datasets/org/name", "datasets/org/name/resolve/main/x", "api/spaces/a/b"):
        assert says(door.ask("GET", f"/hf/voice/{path}"), 404, "RepoNotFound")


@pytest.mark.parametrize("revision", ["v9", "a" * 40, "refs%2Fpr%2F1"])
def test_a_revision_that_the_slot_does_not_answer_to_is_not_there(door, revision):
    assert says(door.ask("GET", f"{INFO}/revision/{revision}"), 404, "RevisionNotFound")
    got = door.ask("HEAD", FILE.replace("main", revision))
    assert says(got, 404, "RevisionNotFound")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_nothing_can_be_written(door, method):
    for path in (FILE, INFO, "/hf/voice/api/repos/delete", "/hf/voice"):
        assert says(door.ask(method, path), 405)
    assert says(door.ask("POST", "/hf/voice/api/repos/create", {}), 405)
    assert says(door.ask("GET", f"{INFO}/paths-info/main"), 405)


def test_without_a_token_of_ours_nothing_is_said(door):
    for token in (None, "hf_of_the_hub", "wl_nobody_x"):
        for path in (INFO, FILE, "/hf/nobody/api/models/x"):
            got = door.ask("GET", path, token=token)
            assert says(got, 401)
            assert "org/name" not in got.body.decode()


def test_a_program_that_takes_the_hub_s_own_kind_of_token_alone_reads_as_any_other(door):
    token = hub_spelling(door.ask("POST", "/v1/tokens", {"role": "replica"}).json["token"])
    # What llama.cpp asks: the commit of main, the files, then one of them.
    (main,) = door.ask("GET", f"{INFO}/refs", token=token).json["branches"]
    commit = main["targetCommit"]
    rows = door.ask("GET", f"{INFO}/tree/{commit}?recursive=true", token=token).json
    (weights,) = [row for row in rows if row["path"] == "w.dat"]
    assert len(weights["lfs"]["oid"]) == 64
    got = door.ask("HEAD", f"/hf/voice/org/name/resolve/{commit}/w.dat", token=token)
    assert got.status == 302
    assert door.ask("GET", "/v1/pipelines", token=token).status == 401  # here alone


def test_a_browser_s_session_opens_no_door(door):
    got = door.ask("GET", FILE, token=None, headers={"Cookie": "warmline=x"})
    assert says(got, 401)


def test_with_auth_off_programs_of_this_machine_read_and_no_site_has_a_browser_ask(bench):
    fill(bench)
    with open_door(bench, auth=False) as api:
        assert api.ask("GET", FILE, token=None).status == 200
        assert api.ask("GET", FILE, token="hf_of_the_hub").status == 200
        for led in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil"}, {"Host": "evil"}):
            assert says(api.ask("GET", FILE, token=None, headers=led), 403)


def test_a_body_that_is_too_large_is_refused_in_the_hub_s_words(door):
    assert says(door.ask("POST", f"{INFO}/paths-info/main", b"x" * (2**20 + 1)), 413)


def test_a_tenant_that_asks_too_much_at_once_is_told_to_wait(bench):
    limited = Tenant("default", quotas=Quotas(connections=0))
    with open_door(bench, tenants=lambda _: limited) as api:
        token = api.ask("POST", "/v1/tokens", {"role": "replica"}).json["token"]
        got = api.ask("GET", INFO, token=token)
        assert says(got, 429)
        assert got.headers["retry-after"]


def test_a_node_that_is_being_stopped_takes_no_new_reader_and_serves_the_old_one(api, warm):
    assert api.ask("GET", FILE).status == 200
    token = api.ask("POST", "/v1/tokens", {"role": "replica"}).json["token"]
    warm.service.drain()
    assert says(api.ask("GET", FILE, token=token), 503)
    assert api.ask("GET", FILE).status == 200


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OriginDeniedError("gated"), 403, "GatedRepo"),
        (OriginNotFoundError("nothing there"), 404, "RepoNotFound"),
        (OriginUnavailableError("down"), 503, None),
    ],
)
def test_what_an_origin_says_reaches_the_client_in_its_own_code(
    api, bench, origin, error, status, code
):
    origin.deny(error)
    bench.put(ModelSpec("m", SOURCE))
    got = api.ask("HEAD", FILE)
    assert says(got, status, code)
    assert status != 503 or got.headers["retry-after"]


def test_a_cold_slot_s_client_is_told_in_time_to_come_back(api, bench, origin, monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE", 0.05)
    bench.put(ModelSpec("m", SOURCE))
    bench.resolved()
    with bench.service._lock:  # nothing begins
        got = api.ask("HEAD", FILE)
    assert says(got, 429)
    assert got.headers["retry-after"]


# What it counts as.


def test_a_reader_is_counted_once_and_holds_what_it_reads(api, warm):
    token = api.ask("POST", "/v1/tokens", {"role": "replica"}).json["token"]
    for _ in range(5):
        assert api.ask("GET", FILE, token=token).status == 200
    assert warm.service.counters.hits == 1
    assert warm.service.leases.count == 1
    evicted = api.ask("POST", "/v1/pipelines/voice/evict", {})
    assert (evicted.status, evicted.json["code"]) == (409, "slot-in-use")


def test_a_request_keeps_the_slot_hot(api, warm):
    api.ask("GET", FILE)
    before = warm.cache()["last_request"]
    warm.clock.advance(3600)
    api.ask("GET", FILE)
    assert warm.cache()["last_request"] > before


def test_a_warm_slot_asks_its_origin_nothing(api, warm, origin):
    asked = origin.resolves, len(origin.requests)
    origin.deny(OriginUnavailableError("down"))
    for path in (INFO, f"{INFO}/tree/main", f"{INFO}/refs", FILE, WEIGHTS):
        assert api.ask("GET", path).status in (200, 302)
    assert (origin.resolves, len(origin.requests)) == asked


def test_no_answer_speaks_of_xet(door):
    for path in (INFO, f"{INFO}?blobs=true", f"{INFO}/tree/main?recursive=1", FILE, WEIGHTS):
        got = door.ask("GET", path)
        assert "xet" not in (json.dumps(got.headers) + got.body.decode(errors="replace")).lower()
    assert door.ask("GET", f"{INFO}/xet-read-token/main").status == 404
