"""How the attacks on a safetensors header are carried out, on us and on the library."""

import json

import pytest
from safetensors import SafetensorError, deserialize

from cache_protocol.errors import MalformedError
from cache_protocol.safetensors_header import PREFIX, header_size, parse_header


def tensor(dtype: object, shape: object, data_offsets: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": data_offsets}


def file_of(header: object, data_size: int = 0) -> bytes:
    """Return a file whose header is ``header``: bytes as they are, anything else as JSON."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(PREFIX, "little") + raw + bytes(data_size)


def read(data: bytes) -> None:
    n = header_size(data[:PREFIX], file_size=len(data))
    parse_header(data[PREFIX : PREFIX + n], file_size=len(data))


def assert_refused(data: bytes, match: str | None = None, *, library: bool = True) -> None:
    """Assert that we refuse ``data`` in few words, and the library too unless it is laxer."""
    with pytest.raises(MalformedError, match=match) as caught:
        read(data)
    assert len(str(caught.value)) < 2000
    if library:
        with pytest.raises(SafetensorError):
            deserialize(data)
    else:
        deserialize(data)
