"""Refuse a safetensors file whose header lies, before anybody is served it as whole."""

from cache_protocol.errors import MalformedError
from cache_protocol.names import shown
from cache_protocol.safetensors_header import PREFIX, header_size, parse_header
from cache_server.store.durable import disk_errors
from cache_server.store.stored_file import StoredFile


def check_header(file: StoredFile) -> None:
    """Return if ``file``, which is whole on disk, is no safetensors file or a lawful one.

    Raises:
        MalformedError: its header does not describe the file; a replica would refuse it too.
    """
    if not file.origin.path.endswith(".safetensors"):
        return
    try:
        with disk_errors(file.path), file.path.open("rb") as opened:
            size = header_size(opened.read(PREFIX), file_size=file.size)
            parse_header(opened.read(size), file_size=file.size)
    except MalformedError as error:
        raise MalformedError(f"{file.model}/{shown(file.origin.path)}: {error}") from error
