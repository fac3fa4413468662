"""Spoiled manifests: to have an agent take a name, size or digest that is none, or break."""

from contextlib import suppress
from datetime import UTC, datetime

from hypothesis import given

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import MalformedError
from cache_protocol.manifest import (
    MAX_FILE_SIZE,
    MAX_LIFE,
    File,
    Lease,
    Manifest,
    Model,
    dump_manifest,
    parse_manifest,
)
from cache_protocol.names import check_model, check_paths, check_pipeline
from replica_agent.core.urls import parse_url
from tests.hostile.mutations import ODD, encode, hunt, in_few_words, spoiled, spoiled_json

BASE = "http://10.0.0.1:8081"


def file(name: str, size: int, **more: str) -> File:
    path = f"{'0' * 32}/m/{name}?expires=1&key=k&tenant=t&ticket=x"
    urls = (f"{BASE}/files/{path}", f"http://[::1]:8081/files/{path}")
    return File(
        path=name,
        size=size,
        sha256="ab" * 32,
        urls=urls,
        digests=f"{BASE}/digests/{path}",
        verdict=f"{BASE}/verdicts/{path}",
        **more,
    )


GOOD = dump_manifest(
    Manifest(
        pipeline="voice",
        generation="0" * 32,
        lease=Lease("lease", datetime(2030, 1, 1, tzinfo=UTC)),
        models={
            "asr": Model("hf://o/n", "c" * 40, (file("a/b.safetensors", CHUNK_SIZE + 1),)),
            "llm": Model(
                "s3://b/p", "r", (file("config.json", 2, git_sha1="cd" * 20), file("w", 0))
            ),
        },
        source="pass-through",
        reason="no room",
    )
)
TYPES = [
    *ODD,
    *("a/B.safetensors", "a/b.safetensors/c", "config.json", "con", "x" * 256, "a\\b", "~", "."),
    *("ab" * 32, "AB" * 32, "2030-01-01", "2030-01-01T00:00:00", "0001-01-01T00:00:00+23:59"),
    *("file:///etc/passwd", "http://h:99999/", "http://h/ x", "HTTP://h/", BASE, "http://@h/\r\n"),
]
PIECES = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"0",
    b"-",
    b"9" * 30,
    b"NaN",
    b"\xff",
    b"..",
    b"/",
]
PIECES += [b"\\ud800", b"\\u002f", b'"models":{},', b'"files":[],', b"\xef\xbb\xbf", b"\x00", b" "]


def check_url(url: str) -> None:
    """Whatever ``url`` is: it splits no request, and the agent reads it or refuses it."""
    assert url.isascii()
    assert url.isprintable()
    assert " " not in url
    with suppress(MalformedError):
        parse_url(url)


def check(data: bytes) -> None:
    """Whatever ``data`` is: it is refused in few words, or all of it can be relied upon."""
    try:
        manifest = parse_manifest(data)
    except MalformedError as error:
        if not in_few_words(error):
            raise
        return
    check_pipeline(manifest.pipeline)
    assert 0 < manifest.ticket_life <= MAX_LIFE
    assert manifest.lease.expires.utcoffset() == UTC.utcoffset(None)
    for name, model in manifest.models.items():
        check_model(name)
        check_paths(file.path for file in model.files)
    for _, file in manifest.files():
        assert type(file.size) is int
        assert 0 <= file.size <= MAX_FILE_SIZE
        assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32
        for url in (*file.urls, file.digests, file.verdict):
            check_url(url)
    assert parse_manifest(encode(dump_manifest(manifest)).encode()) == manifest


def test_what_the_fuzzers_begin_with_is_good():
    assert parse_manifest(encode(GOOD).encode()).size == CHUNK_SIZE + 3


@hunt(800)
@given(spoiled_json(GOOD, TYPES))
def test_a_manifest_of_spoiled_structure_is_refused_or_can_be_relied_upon(data):
    check(data)


@hunt(1000)
@given(spoiled(encode(GOOD).encode(), PIECES, most=3))
def test_a_manifest_of_spoiled_text_is_refused_or_can_be_relied_upon(data):
    check(data)
