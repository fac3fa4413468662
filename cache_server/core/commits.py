"""What the hub's protocol wants of content from elsewhere: a repository id, a commit, tags. Pure.

    hf://org/name             org/name              its own commit
    s3://…, file:///…         <pipeline>/<model>    <generation>00000000

A client names directories after both, and files after their tags: all three must be the same at
every question, on a cold slot and on a warm one, before and after a restart.
"""

import hashlib

from cache_server.core.content import ModelContent, OriginFile
from cache_server.core.sources import Scheme, parse_source

_FILLER = "0" * 8  # a generation's id has 32 hex digits, a commit 40


def repository_of(pipeline: str, model: ModelContent) -> str:
    """Return the repository id under which ``pipeline`` offers ``model``."""
    source = parse_source(model.source)
    return source.name if source.scheme is Scheme.HF else f"{pipeline}/{model.name}"


def commit_of(generation: str, model: ModelContent) -> str:
    """Return the commit, 40 hex digits, that pins ``model`` in the generation of that id.

    One that is made up begins with the generation's id: an operator who reads it in a path on a
    replica knows what was served.
    """
    if parse_source(model.source).scheme is Scheme.HF:
        return model.revision
    return generation + _FILLER


def tag_of(model: ModelContent, file: OriginFile) -> str:
    """Return what stands for the bytes of ``file``: a sha256, a git blob id, or 40 made up digits.

    Made up of what pins the bytes at the origin, and of nothing that is learnt while they come: a
    file that did not change keeps its tag in the next generation, and no client pulls it again.
    """
    if (known := file.sha256 or file.git_sha1) is not None:
        return known
    words = "\n".join((model.source, file.path, file.tag, str(file.size)))
    return hashlib.sha1(words.encode(), usedforsecurity=False).hexdigest()
