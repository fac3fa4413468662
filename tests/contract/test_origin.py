"""The contract of `ports.Origin`, run against every adapter and against the fake."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest

from cache_protocol.errors import (
    MalformedError,
    OriginChangedError,
    OriginDeniedError,
    OriginNotFoundError,
    OriginUnavailableError,
)
from cache_protocol.ranges import Span, cut
from cache_server.core.content import Listing, ModelSpec, OriginFile
from cache_server.core.tenants import Tenant
from cache_server.origins.open import open_origin
from cache_server.origins.settings import OriginSettings
from cache_server.ports import Origin, Stream
from tests.fakes.hub import Fault, Hub
from tests.fakes.origin import MemoryOrigin
from tests.fakes.swift import Swift, require_swift, swift

TENANT = Tenant("default").vouched()
CHUNK = 8 * 2**20
BIG = "model.safetensors"
FILES = {
    BIG: os.urandom(CHUNK) + bytes(range(100)),  # noise, so that a wrong place shows
    "config.json": b'{"layers": 1}',
    "sub/deep/tokenizer.json": b"[]",
    "empty.txt": b"",
}
SPANS = [
    Span(0, 1),
    Span(CHUNK // 2, CHUNK // 2 + 7),
    Span(CHUNK + 99, CHUNK + 100),
    Span(CHUNK - 3, CHUNK + 3),
    Span(0, CHUNK + 100),
]


def read(origin: Origin, listing: Listing, file: OriginFile, span: Span) -> bytes:
    """Read ``span`` into a buffer that has room for more."""
    buffer = bytearray(span.size + 100)
    view, at = memoryview(buffer), 0
    with origin.open(listing.revision, file, span) as stream:
        while count := stream.readinto(view[at:]):
            at += count
        assert stream.readinto(view[at:]) == 0, "the end stays the end"
    assert buffer[at:] == bytes(len(buffer) - at), "nothing is written past the span"
    return bytes(buffer[:at])


def drain(stream: Stream, count: int) -> None:
    """Read and forget ``count`` bytes."""
    scratch = memoryview(bytearray(2**20))
    while count:
        count -= stream.readinto(scratch)


def named(listing: Listing, path: str) -> OriginFile:
    return next(f for f in listing.files if f.path == path)


class OriginContract(ABC):
    """What every origin keeps. ``origin`` holds exactly FILES when a test starts."""

    @pytest.fixture
    @abstractmethod
    def origin(self) -> Any: ...

    @abstractmethod
    def change(self, path: str, data: bytes) -> None:
        """Let the origin hold ``data`` at ``path`` from now on."""

    @abstractmethod
    def absent(self) -> Origin:
        """Return an origin whose source does not exist."""

    def test_a_listing_has_every_file_with_its_size(self, origin: Origin):
        sizes = {f.path: f.size for f in origin.resolve().files}
        assert sizes == {path: len(data) for path, data in FILES.items()}

    def test_equal_content_has_an_equal_revision(self, origin: Origin):
        assert origin.resolve() == origin.resolve()

    def test_changed_content_has_another_revision(self, origin: Origin):
        before = origin.resolve().revision
        self.change("config.json", b'{"layers": 2}')
        assert origin.resolve().revision != before

    @pytest.mark.parametrize("span", SPANS)
    def test_a_stream_brings_exactly_the_span(self, origin: Origin, span: Span):
        listing = origin.resolve()
        assert read(origin, listing, named(listing, BIG), span) == FILES[BIG][slice(*span)]

    def test_a_small_file_comes_whole(self, origin: Origin):
        listing = origin.resolve()
        file = named(listing, "sub/deep/tokenizer.json")
        assert read(origin, listing, file, Span(0, file.size)) == b"[]"

    def test_many_threads_read_at_once(self, origin: Origin):
        listing = origin.resolve()
        file, start = named(listing, BIG), Barrier(8)

        def part(span: Span) -> bytes:
            start.wait(10)
            return read(origin, listing, file, span)

        spans = list(cut(Span(0, file.size), -(-file.size // 8)))
        with ThreadPoolExecutor(8) as pool:
            assert b"".join(pool.map(part, spans)) == FILES[BIG]

    def test_a_stream_may_be_left_early(self, origin: Origin):
        listing = origin.resolve()
        file = named(listing, BIG)
        with origin.open(listing.revision, file, Span(0, file.size)) as stream:
            assert 0 < stream.readinto(memoryview(bytearray(10))) <= 10
        assert read(origin, listing, file, Span(5, 9)) == FILES[BIG][5:9]

    def test_a_missing_file_fails_before_the_first_byte(self, origin: Origin):
        listing = origin.resolve()
        ghost = replace(named(listing, BIG), path="ghost.safetensors")
        with (
            pytest.raises((OriginNotFoundError, OriginChangedError)),
            origin.open(listing.revision, ghost, Span(0, 1)),
        ):
            pytest.fail("it opened")

    def test_what_may_be_read_passes_the_check_of_access(self, origin: Origin):
        assert not origin.resolve().restricted
        origin.check_access()

    def test_a_missing_source_is_not_found(self, origin: Origin):
        missing = self.absent()
        with pytest.raises(OriginNotFoundError):
            missing.resolve()
        missing.close()

    def test_content_that_changed_after_resolve_is_never_sent(self, origin: Origin):
        listing = origin.resolve()
        self.change(BIG, FILES[BIG][::-1])
        file = named(listing, BIG)
        try:
            got = read(origin, listing, file, Span(0, 64))
        except OriginChangedError:
            return
        # An origin that keeps its history may go on to send what it announced.
        assert got == FILES[BIG][:64]


class DenyingOriginContract(OriginContract):
    """Of origins that know who asks."""

    @abstractmethod
    def forbid(self) -> Origin:
        """Return an origin of the same content that refuses us."""

    def test_a_forbidden_source_is_denied(self, origin: Origin):
        forbidden = self.forbid()
        with pytest.raises(OriginDeniedError):
            forbidden.resolve()
        forbidden.close()


class AskedOriginContract(DenyingOriginContract):
    """Of origins that say who may read, and may say something else tomorrow."""

    def test_what_was_readable_and_is_not_any_more_fails_the_check(self, origin: Origin):
        origin.resolve()
        forbidden = self.forbid()
        with pytest.raises(OriginDeniedError):
            forbidden.check_access()
        forbidden.close()


class RemoteOriginContract(AskedOriginContract):
    """Of origins that can be made to break at a byte."""

    @abstractmethod
    def break_once(self, count: int) -> None:
        """Let the next stream of the big file break after ``count`` bytes."""

    def test_after_a_break_the_rest_can_be_read(self, origin: Origin):
        listing = origin.resolve()
        file = named(listing, BIG)
        self.break_once(CHUNK // 2)
        buffer = bytearray(file.size)
        view, at, breaks = memoryview(buffer), 0, 0
        while at < file.size:
            try:
                with origin.open(listing.revision, file, Span(at, file.size)) as stream:
                    while count := stream.readinto(view[at : at + CHUNK // 4]):
                        at += count
            except OriginUnavailableError:
                breaks += 1
        assert breaks == 1
        assert bytes(buffer) == FILES[BIG]


class TestMemoryOrigin(RemoteOriginContract):
    @pytest.fixture
    def origin(self) -> MemoryOrigin:
        self.memory = MemoryOrigin(FILES)
        return self.memory

    def change(self, path: str, data: bytes) -> None:
        self.memory.files[path] = data

    def forbid(self) -> Origin:
        self.memory.deny(OriginDeniedError("not yours"))
        return self.memory

    def absent(self) -> Origin:
        origin = MemoryOrigin()
        origin.fail_resolve(OriginNotFoundError("there is nothing"))
        return origin

    def break_once(self, count: int) -> None:
        self.memory.break_after(BIG, count)


class TestDirectory(OriginContract):
    @pytest.fixture
    def origin(self, tmp_path: Path) -> Iterator[Origin]:
        self.root = tmp_path / "models"
        for path, data in FILES.items():
            self.change(path, data)
        origin = open_origin(ModelSpec("m", f"file://{self.root}"), OriginSettings(), TENANT)
        yield origin
        origin.close()

    def change(self, path: str, data: bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        # A new inode, as a download that ends in a rename makes one.
        new = file.with_name(f"{file.name}.new")
        new.write_bytes(data)
        new.rename(file)

    def absent(self) -> Origin:
        return open_origin(ModelSpec("m", f"file://{self.root}-absent"), OriginSettings(), TENANT)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    require_swift()
    with swift(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Swift) -> Iterator[Any]:
    client = server.client()
    client.create_bucket(Bucket="models")
    for path, data in FILES.items():
        client.put_object(Bucket="models", Key=f"voice/{path}", Body=data)
    client.put_object(Bucket="models", Key="voice/folder/", Body=b"")
    client.put_object(Bucket="models", Key="voice-other/model.dat", Body=b"not ours")
    yield client
    client.close()


class TestS3(DenyingOriginContract):
    @pytest.fixture
    def origin(self, server: Swift, client: Any, tmp_path: Path) -> Iterator[Origin]:
        self.server, self.client, self.secrets = server, client, tmp_path / "secrets"
        self.bucket, self.changed = "models", set[str]()
        origin = self.open("s3://models/voice", (server.access_key, server.secret))
        yield origin
        origin.close()
        self.bucket = "models"
        for path in self.changed & FILES.keys():
            self.change(path, FILES[path])

    def open(self, source: str, keys: tuple[str, str], timeout: float = 5.0) -> Origin:
        secret = self.secrets / "bucket"
        secret.mkdir(parents=True, exist_ok=True)
        fields = {"access_key_id": keys[0], "secret_access_key": keys[1]}
        fields |= {"endpoint_url": self.server.endpoint, "region": self.server.region}
        for name, value in fields.items():
            (secret / name).write_text(f"{value}\n")
        settings = OriginSettings(secrets_dir=self.secrets, stall_timeout=timeout)
        return open_origin(ModelSpec("m", source, credentials="bucket"), settings, TENANT)

    def owned(self, source: str, timeout: float = 5.0) -> Origin:
        return self.open(source, (self.server.access_key, self.server.secret), timeout)

    def change(self, path: str, data: bytes) -> None:
        self.changed.add(path)
        self.client.put_object(Bucket=self.bucket, Key=f"voice/{path}", Body=data)

    def absent(self) -> Origin:
        return self.owned("s3://models/absent")

    def forbid(self) -> Origin:
        return self.open("s3://models/voice", self.server.stranger)

    def test_a_missing_bucket_is_not_found(self, origin: Origin):
        missing = self.owned("s3://nobody-made-it/voice")
        with pytest.raises(OriginNotFoundError, match="NoSuchBucket"):
            missing.resolve()
        missing.close()

    def test_a_wrong_secret_is_denied_with_the_reason_of_the_service(self, origin: Origin):
        wrong = self.open("s3://models/voice", (self.server.access_key, "wr0ng"))
        with pytest.raises(OriginDeniedError, match="SignatureDoesNotMatch") as caught:
            wrong.resolve()
        assert "wr0ng" not in str(caught.value)
        wrong.close()

    def test_a_prefix_that_is_an_object_is_a_model_of_one_file(self, origin: Origin):
        single = self.owned("s3://models/voice/config.json")
        listing = single.resolve()
        assert [f.path for f in listing.files] == ["config.json"]
        assert read(single, listing, listing.files[0], Span(2, 8)) == b"layers"
        single.close()

    def test_a_changed_object_is_refused_by_its_etag(self, origin: Origin):
        listing = origin.resolve()
        self.change(BIG, FILES[BIG][::-1])
        with (
            pytest.raises(OriginChangedError, match="412"),
            origin.open(listing.revision, named(listing, BIG), Span(0, 1)),
        ):
            pytest.fail("it opened")

    def test_where_versions_are_kept_the_announced_one_is_still_sent(self, origin: Origin):
        self.bucket = "versioned"
        self.client.create_bucket(Bucket=self.bucket)
        self.client.put_bucket_versioning(
            Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"}
        )
        self.change("a.dat", b"first")
        versioned = self.owned("s3://versioned/voice")
        listing = versioned.resolve()
        self.change("a.dat", b"other")
        assert read(versioned, listing, listing.files[0], Span(0, 5)) == b"first"
        versioned.close()

    def test_a_stalled_service_is_unavailable_within_the_time_limit(self, origin: Origin):
        impatient = self.owned("s3://models/voice", timeout=0.5)
        listing = impatient.resolve()
        with (
            self.server.stalled(),
            pytest.raises(OriginUnavailableError),
            impatient.open(listing.revision, named(listing, BIG), Span(0, 1)),
        ):
            pytest.fail("it opened")
        impatient.close()

    def test_after_a_freeze_half_way_the_rest_can_be_read(self, origin: Origin):
        data = os.urandom(1000) * 48_000  # more than the sockets on the way hold
        self.change("big.dat", data)
        impatient = self.owned("s3://models/voice", timeout=0.5)
        listing = impatient.resolve()
        file, buffer = named(listing, "big.dat"), memoryview(bytearray(len(data)))
        with impatient.open(listing.revision, file, Span(0, file.size)) as stream:
            at = stream.readinto(buffer)
            with self.server.stalled(), pytest.raises(OriginUnavailableError):
                drain(stream, file.size - at)
        assert 0 < at < len(data)
        assert buffer[:at] == data[:at]
        assert read(impatient, listing, file, Span(at, file.size)) == data[at:]
        impatient.close()
        self.client.delete_object(Bucket="models", Key="voice/big.dat")

    def test_a_listing_of_many_pages_is_whole(self, origin: Origin):
        keys = [f"many/{n:04}" for n in range(30)]
        for key in keys:
            self.client.put_object(Bucket="models", Key=key, Body=b"")
        many = self.owned("s3://models/many")
        many._origin._client.meta.events.register(  # type: ignore[attr-defined]
            "provide-client-params.s3.ListObjectsV2", _ten_per_page
        )
        assert [f"many/{f.path}" for f in many.resolve().files] == keys
        many.close()


def _ten_per_page(params: dict[str, Any], **_: object) -> dict[str, Any]:
    return {**params, "MaxKeys": 10}


class TestHuggingFace(RemoteOriginContract):
    @pytest.fixture
    def hub(self, tmp_path: Path) -> Iterator[Hub]:
        with Hub(tmp_path, page=2) as hub:
            self.hub = hub
            self.commit = hub.commit("org/name", FILES)
            yield hub

    @pytest.fixture
    def origin(self, hub: Hub) -> Iterator[Origin]:
        origin = self.open("hf://org/name")
        yield origin
        origin.close()

    def open(self, source: str, token: str | None = None, timeout: float = 5.0) -> Origin:
        settings = OriginSettings(
            hf_endpoint=self.hub.endpoint, hf_token=token, stall_timeout=timeout
        )
        return open_origin(ModelSpec("m", source), settings, TENANT)

    def change(self, path: str, data: bytes) -> None:
        self.hub.commit("org/name", {**FILES, path: data})

    def absent(self) -> Origin:
        return self.open("hf://org/absent", token="hf_valid")

    def forbid(self) -> Origin:
        self.hub.repository("org/name").gated = True
        return self.open("hf://org/name", token="hf_of_somebody_else")

    def break_once(self, count: int) -> None:
        self.hub.order(Fault(BIG, at="cdn", after=count, reset=True))

    def test_the_revision_is_a_commit(self, origin: Origin):
        assert origin.resolve().revision == self.commit

    def test_weights_carry_a_sha256_and_small_files_a_git_blob_id(self, origin: Origin):
        files = {f.path: f for f in origin.resolve().files}
        assert files[BIG].sha256 is not None
        assert files[BIG].git_sha1 is None
        # `git hash-object` of an empty file.
        assert files["empty.txt"].git_sha1 == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"

    @pytest.mark.parametrize("name", ["v1", "pr/7"])
    def test_a_tag_or_branch_resolves_to_its_commit(self, origin: Origin, name: str):
        self.hub.repository("org/name").refs[name] = self.commit
        self.change("config.json", b"{}")
        named = self.open(f"hf://org/name@{name}")
        assert named.resolve().revision == self.commit
        named.close()

    def test_an_unknown_revision_is_not_found(self, origin: Origin):
        unknown = self.open("hf://org/name@v9")
        with pytest.raises(OriginNotFoundError, match="RevisionNotFound"):
            unknown.resolve()
        unknown.close()

    def test_a_branch_that_moves_during_a_pull_does_not_mix_commits(self, origin: Origin):
        listing = origin.resolve()
        self.change(BIG, FILES[BIG][::-1])
        file = named(listing, BIG)
        assert read(origin, listing, file, Span(0, file.size)) == FILES[BIG]

    def test_a_gated_repository_is_denied_in_the_words_of_the_hub(self, origin: Origin):
        gated = self.forbid()
        with pytest.raises(OriginDeniedError, match=r"you are not in the list.*GatedRepo"):
            gated.resolve()
        gated.close()

    def test_a_private_repository_opens_with_the_token(self, origin: Origin):
        self.hub.repository("org/name").private = True
        with pytest.raises(OriginDeniedError):
            origin.resolve()
        ours = self.open("hf://org/name", token="hf_valid")
        listing = ours.resolve()
        assert read(ours, listing, named(listing, BIG), Span(0, 9)) == FILES[BIG][:9]
        ours.close()

    def test_what_not_everybody_may_read_says_so(self, origin: Origin):
        for switch in ("private", "gated"):
            repository = self.hub.repository("org/name")
            repository.private, repository.gated = switch == "private", switch == "gated"
            ours = self.open("hf://org/name", token="hf_valid")
            assert ours.resolve().restricted
            ours.check_access()
            ours.close()

    def test_a_private_repository_of_others_is_as_if_it_were_not_there(self, origin: Origin):
        self.hub.repository("org/name").private = True
        with pytest.raises((OriginNotFoundError, OriginDeniedError)):
            origin.check_access()

    def test_a_hub_that_fails_says_nothing_of_the_access(self, origin: Origin):
        for status in (429, 500, 503):
            self.hub.order(Fault("/api/models/org/name", status=status))
            with pytest.raises(OriginUnavailableError):
                origin.check_access()

    def test_a_check_of_access_asks_for_no_tree(self, origin: Origin):
        origin.check_access()
        assert [r.path for r in self.hub.asked("hub")] == ["/api/models/org/name"]

    def test_the_token_goes_to_the_hub_and_never_to_the_cdn(self, origin: Origin):
        ours = self.open("hf://org/name", token="hf_valid")
        listing = ours.resolve()
        for _ in range(2):
            read(ours, listing, named(listing, BIG), Span(0, 9))
        assert {r.authorization for r in self.hub.asked("hub")} == {"Bearer hf_valid"}
        assert {r.authorization for r in self.hub.asked("cdn")} == {None}
        ours.close()

    def test_the_hub_is_asked_once_for_a_file_however_many_ranges_are_read(self, origin: Origin):
        listing = origin.resolve()
        spans = list(cut(Span(0, CHUNK), CHUNK // 16))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda s: read(origin, listing, named(listing, BIG), s), spans))
        assert len(self.hub.asked("hub", "/resolve/")) == 1
        assert len(self.hub.asked("cdn")) == len(spans)

    def test_a_cdn_url_that_ran_out_is_renewed_once(self, origin: Origin):
        listing = origin.resolve()
        file = named(listing, BIG)
        read(origin, listing, file, Span(0, 1))
        self.hub.expire_urls()
        assert read(origin, listing, file, Span(1, 4)) == FILES[BIG][1:4]
        assert [r.status for r in self.hub.asked("cdn")] == [206, 403, 206]
        assert len(self.hub.asked("hub", "/resolve/")) == 2

    def test_a_cdn_that_refuses_a_fresh_url_is_denied(self, origin: Origin):
        listing = origin.resolve()
        self.hub.order(Fault(BIG, at="cdn", status=403, times=9))
        with (
            pytest.raises(OriginDeniedError),
            origin.open(listing.revision, named(listing, BIG), Span(0, 1)),
        ):
            pytest.fail("it opened")
        assert len(self.hub.asked("cdn")) == 2

    @pytest.mark.parametrize("path", ["/api/models/org/name/revision", "/tree/", "/resolve/"])
    def test_a_busy_hub_is_asked_once_and_its_wish_is_passed_on(self, origin: Origin, path: str):
        versioned = self.open("hf://org/name@main")
        listing = versioned.resolve()
        before = len(self.hub.asked("hub", path))
        self.hub.order(Fault(path, at="hub", status=429, headers={"Retry-After": "7"}, times=9))
        with pytest.raises(OriginUnavailableError) as caught:
            read(versioned, versioned.resolve(), named(listing, BIG), Span(0, 1))
        assert caught.value.retry_after == 7.0
        assert len(self.hub.asked("hub", path)) == before + 1
        versioned.close()

    def test_a_hub_that_is_gone_is_unavailable(self, origin: Origin):
        settings = OriginSettings(hf_endpoint="http://127.0.0.1:9")
        gone = open_origin(ModelSpec("m", "hf://org/name"), settings, TENANT)
        with pytest.raises(OriginUnavailableError):
            gone.resolve()
        gone.close()

    def test_a_stalled_cdn_is_unavailable_and_the_bytes_before_are_good(self, origin: Origin):
        impatient = self.open("hf://org/name", timeout=0.3)
        listing = impatient.resolve()
        self.hub.order(Fault(BIG, at="cdn", after=10, stall=Event()))
        buffer = memoryview(bytearray(100))
        with impatient.open(listing.revision, named(listing, BIG), Span(0, 100)) as stream:
            assert stream.readinto(buffer) == 10
            assert buffer[:10] == FILES[BIG][:10]
            with pytest.raises(OriginUnavailableError, match="stalled"):
                stream.readinto(buffer)
        impatient.close()

    def test_a_body_that_ends_early_is_unavailable(self, origin: Origin):
        listing = origin.resolve()
        self.hub.order(Fault(BIG, at="cdn", after=10, truncate=True))
        with pytest.raises(OriginUnavailableError, match="ended"):
            read(origin, listing, named(listing, BIG), Span(0, 1000))

    def test_a_name_that_leaves_its_directory_is_never_asked_for(self, origin: Origin):
        listing = origin.resolve()
        bad = replace(named(listing, BIG), path="../../secrets")
        with (
            pytest.raises(MalformedError),
            origin.open(listing.revision, bad, Span(0, 1)),
        ):
            pytest.fail("it opened")
        assert not self.hub.asked("hub", "secrets")
