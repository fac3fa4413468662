"""A repository of a Hugging Face Hub as an origin: ``hf://org/name@revision``.

    resolve   branch or tag -> commit -> tree of that commit     through huggingface_hub
    open      /org/name/resolve/<commit>/<path>                  through our own ranged client
                 302 -> signed URL of a CDN, kept for the next ranges, renewed when it expires

The commit in the URL pins the content. Weights carry a sha256 (LFS), small files a git blob id.
The token goes to the hub alone, never to the CDN, whose URLs are signed and refuse it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile

from cache_protocol.errors import OriginChangedError, OriginUnavailableError
from cache_protocol.names import check_path, shown
from cache_protocol.ranges import Span
from cache_server.core.content import Listing, OriginFile
from cache_server.origins.locations import Locations
from cache_server.origins.question import asking, bounded
from cache_server.origins.ranged_http import Answer, Download, RangedClient
from cache_server.origins.redirects import same_origin

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# What CDNs answer when a signed URL has run out: CloudFront and S3 403, S3 with temporary
# credentials 400, others 401 or 410.
_EXPIRED = frozenset({400, 401, 403, 410})


class HuggingFaceOrigin:
    """One repository; a file's tag is its sha256 or its git blob id."""

    def __init__(
        self, repo: str, revision: str | None, *, endpoint: str, token: str | None,
        client: RangedClient,
    ) -> None:  # fmt: skip
        """Args: revision: branch, tag or commit; None is the repository's default branch."""
        self._repo, self._revision, self._endpoint = repo, revision, endpoint
        # False: without a token of the operator's none is sent, not one found in a home.
        self._api = HfApi(endpoint=endpoint, token=token or False, library_name="warmline")
        self._private = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = client
        self._locations = Locations(wait=client.stall_timeout)

    def resolve(self) -> Listing:
        """Implement ``ports.Origin``; the revision is a commit."""
        with self._question():
            info = self._api.model_info(self._repo, revision=self._revision)
            if info.gated:  # its listing is public, its files are not: say so before any fill
                self._api.auth_check(self._repo)
            commit = info.sha or ""
            if not _COMMIT.fullmatch(commit):
                raise OriginUnavailableError(f"{self._repo}: the hub named no commit")
            tree = self._api.list_repo_tree(self._repo, revision=commit, recursive=True)
            files = tuple(_file(entry) for entry in bounded(tree) if isinstance(entry, RepoFile))
        restricted = bool(info.private or info.gated)
        return Listing(commit, tuple(sorted(files, key=lambda f: f.path)), restricted)

    def check_access(self) -> None:
        """Implement ``ports.Origin``: as ``resolve`` finds it out, without the tree.

        Of no revision: a branch that is gone says nothing of who may read the repository.
        """
        with self._question():
            if self._api.model_info(self._repo, expand=["gated"]).gated:
                self._api.auth_check(self._repo)

    @contextmanager
    def _question(self) -> Iterator[None]:
        try:
            with asking(self._endpoint):
                yield
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise OriginUnavailableError(
                f"{self._repo}: the hub's answer has not the form of one ({error!r})"
            ) from error

    @contextmanager
    def open(self, listing_revision: str, file: OriginFile, span: Span) -> Iterator[Download]:
        """Implement ``ports.Origin``."""
        path = quote(check_path(file.path))
        start = f"{self._endpoint}/{self._repo}/resolve/{listing_revision}/{path}"
        answer = self._ask(start, span, listing_revision, file)
        if self._has_expired(start, answer):
            answer.close()
            self._locations.forget(start, answer.url)
            answer = self._ask(start, span, listing_revision, file)
        with answer.download(span, file.size, f"{self._repo}/{file.path}") as download:
            yield download

    def close(self) -> None:
        """Implement ``ports.Origin``."""
        self._client.close()

    def _ask(self, start: str, span: Span, commit: str, file: OriginFile) -> Answer:
        known = self._locations.known(start)
        if known is None:
            with self._locations.turn(start):
                known = self._locations.known(start)
                if known is None:
                    return self._ask_hub(start, span, commit, file)
        return self._client.get(known, span, private=self._private_to(known))

    def _ask_hub(self, start: str, span: Span, commit: str, file: OriginFile) -> Answer:
        answer = self._client.get(start, span, private=self._private)
        if answer.status in (200, 206):
            try:
                _check_announced(answer, commit, file)
            except OriginChangedError:
                answer.close()
                raise
            self._locations.learn(start, answer.url)
        return answer

    def _has_expired(self, start: str, answer: Answer) -> bool:
        return answer.status in _EXPIRED and answer.url != start

    def _private_to(self, url: str) -> dict[str, str]:
        return self._private if same_origin(url, self._endpoint) else {}


def _file(entry: RepoFile) -> OriginFile:
    if entry.lfs is None:
        git_sha1 = _digest(entry.blob_id, _COMMIT)
        return OriginFile(entry.path, entry.size, git_sha1, git_sha1=git_sha1)
    sha256 = _digest(entry.lfs.sha256, _SHA256)
    return OriginFile(entry.path, entry.lfs.size, sha256, sha256=sha256)


def _digest(text: str, form: re.Pattern[str]) -> str:
    """Return ``text``, which ends up in headers of ours; ValueError if it is no digest."""
    if not form.fullmatch(text):
        raise ValueError(f"{shown(text)} is no digest")
    return text


def _check_announced(answer: Answer, commit: str, file: OriginFile) -> None:
    """Compare what the hub says beside the bytes, or beside its redirect, with the listing."""
    said = answer.first_headers
    if said.get("X-Repo-Commit", commit) != commit:
        raise OriginChangedError(f"{shown(file.path)} comes from another commit than {commit}")
    # X-Linked-ETag is the sha256 that the tree showed; a CDN's own ETag is opaque.
    linked = said.get("X-Linked-ETag")
    if linked is not None and file.sha256 not in (None, linked.removeprefix("W/").strip('"')):
        raise OriginChangedError(f"{shown(file.path)} has another sha256 than was listed")
