"""The small files of a model: config, tokenizer, index. An engine reads them as it starts."""

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, cast

from cache_protocol.formats import WEIGHTS
from replica_agent.pull import Pull
from replica_agent.transfer import ReplacedError, Transfer

if TYPE_CHECKING:
    from replica_agent.arenas.host import HostArena

# Of a form that holds weights, an engine needs hardly anything before it loads them: some models
# keep small things in .bin and .pt, such as the voices of a speech model.
_TRIFLE = 2**20  # bytes
MOST = 64 * 2**20  # bytes; the largest tokenizer.json of a public model has about 35 MB


def is_small(path: str, size: int) -> bool:
    """Return whether an engine needs the file before it can ask for weights."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in WEIGHTS:
        return size <= _TRIFLE and suffix != ".safetensors"
    return size <= MOST


def wait_for_small_files(pull: Pull) -> Transfer:
    """Wait until every small file is confirmed; return the transfer that brought them.

    Raises:
        CacheError: the pull failed before.
    """
    transfer = pull.transfer()
    while True:
        try:
            while transfer.replaced:
                transfer = pull.transfer(after=transfer)
            small = [n for n, s in enumerate(transfer.files) if is_small(s.file.path, s.file.size)]
            transfer.wait_files(small)
        except ReplacedError:
            transfer = pull.transfer(after=transfer)
        else:
            return transfer


def write_small_files(transfer: Transfer, home: Path) -> dict[str, Path]:
    """Write them to ``home/<model>``; return the directory of every model.

    What is written of a transfer that turns out to be replaced is void: its memory may be gone.
    """
    for model in transfer.manifest.models:
        (home / model).mkdir(parents=True, exist_ok=True)
    for state in transfer.files:
        if is_small(state.file.path, state.file.size):
            to = home / state.model / state.file.path
            to.parent.mkdir(parents=True, exist_ok=True)
            # Of this very transfer: the arenas of the next may be about the same generation.
            to.write_bytes(cast("HostArena", state.arena).view(state.number))
    return {model: home / model for model in transfer.manifest.models}
