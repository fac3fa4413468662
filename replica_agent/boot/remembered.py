"""The last manifest of each pipeline on this host, so that its origin is known without a node.

Names, and no URL: a ticket is a right to read, and old anyway.
"""

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path

from cache_protocol.errors import MalformedError
from cache_protocol.manifest import Manifest
from cache_protocol.names import check_model, check_path
from replica_agent.boot.places import is_trusted
from replica_agent.origin import Wanted


def remember(state: Path, manifest: Manifest) -> None:
    """Write down where the models of ``manifest`` come from, in one step.

    Raises:
        OSError: it cannot be written, or ``state`` is somebody else's.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_trusted(state):
        raise PermissionError(f"{state} is neither ours nor root's")
    models = {
        name: asdict(Wanted(m.source, m.revision, tuple(f.path for f in m.files)))
        for name, m in manifest.models.items()
    }
    fd, fresh = tempfile.mkstemp(dir=state, prefix=".")
    with os.fdopen(fd, "w") as file:
        json.dump({"generation": manifest.generation, "models": models}, file)
    Path(fresh).replace(_place(state, manifest.pipeline))


def recall(state: Path, pipeline: str) -> dict[str, Wanted]:
    """Return the origin of every model of ``pipeline``; empty when nothing is remembered.

    What another user wrote does not count: an engine would load the weights that it names.

    Raises:
        MalformedError: what is written there is not ours.
    """
    place = _place(state, pipeline)
    try:
        if not (is_trusted(state) and is_trusted(place)):
            return {}
        models = json.loads(place.read_text())["models"]
        return {check_model(name): _wanted(fields) for name, fields in models.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise MalformedError(f"{place} is not a manifest of ours") from error


def _wanted(fields: dict[str, object]) -> Wanted:
    source, revision, files = fields["source"], fields["revision"], fields["files"]
    if not isinstance(source, str) or not isinstance(files, list):
        raise MalformedError("a model without a source or a list of files")
    paths = tuple(map(check_path, files))
    return Wanted(source, None if revision is None else str(revision), paths)


def _place(state: Path, pipeline: str) -> Path:
    return state / f"{pipeline}.json"
