"""A generation as a manifest: every file with URLs that carry their own right to read."""

from collections.abc import Iterable
from dataclasses import dataclass

from cache_protocol.local import Offer
from cache_protocol.manifest import (
    CACHE,
    PASS_THROUGH,
    TICKET_LIFE,
    File,
    Lease,
    Manifest,
    Model,
)
from cache_protocol.routes import DIGESTS, FILES, VERDICTS, Resource, resource_path
from cache_protocol.tickets import Keys, sign
from cache_server.fill.passing import PassingGeneration
from cache_server.fill.passing_file import PassingFile
from cache_server.service.library import Readable
from cache_server.store.stored_file import StoredFile


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs URLs of one node's data plane."""

    keys: Keys
    base: str  # "http://host:port"
    expires: int  # unix seconds

    def url(self, tenant: str, resource: Resource) -> str:
        """Return a URL that ``tenant`` may read until ``expires``."""
        path = resource_path(resource)
        return f"{self.base}{path}?{sign(self.keys, tenant, path, self.expires)}"


def manifest_of(
    generation: Readable, lease: Lease, signer: Signer, local: Offer | None = None
) -> Manifest:
    """Return the manifest of ``generation`` for the holder of ``lease``.

    ``local`` is where its files are lent to replicas on this host.
    """
    reason = generation.reason if isinstance(generation, PassingGeneration) else None
    return Manifest(
        pipeline=generation.content.pipeline,
        generation=generation.id,
        lease=lease,
        models={
            model.name: Model(
                model.source,
                model.revision,
                tuple(_files(generation, model.name, signer)),
            )
            for model in generation.content.models
        },
        source=CACHE if reason is None else PASS_THROUGH,
        reason=reason,
        ticket_life=TICKET_LIFE,
        local=local if reason is None else None,
    )


def _files(generation: Readable, model: str, signer: Signer) -> Iterable[File]:
    for file in generation.files:
        if file.model == model:
            yield File(
                path=file.origin.path,
                size=file.size,
                sha256=_sha256(file),
                urls=(_url(signer, FILES, generation, file),),
                digests=_url(signer, DIGESTS, generation, file),
                verdict=_url(signer, VERDICTS, generation, file),
                git_sha1=file.origin.git_sha1,
            )


def _url(signer: Signer, kind: str, generation: Readable, file: StoredFile | PassingFile) -> str:
    resource = Resource(kind, generation.id, file.model, file.origin.path)
    return signer.url(generation.content.tenant, resource)


def _sha256(file: StoredFile | PassingFile) -> str | None:
    confirmed = file.sha256
    return file.origin.sha256 if confirmed is None else confirmed.hex()
