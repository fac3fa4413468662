"""How many values a JSON document from outside may hold: judged before any of them is made. Pure.

Python makes 64 bytes of memory out of the three of ``[],``, and no other thread of the process
runs meanwhile: 64 MiB of it take 1.4 GiB and 12 s. A bound on bytes alone is none.
"""

from cache_protocol.errors import MalformedError

# 0.8 s and 256 MiB at worst. A manifest of 100 000 files has 1.2 million marks, and the header of
# a file with 300 000 tensors, more than any known model has in all its files, 2.7 million.
MAX_MARKS = 2**22
_MARKS = (b",", b"[", b"{")  # each value stands behind one of them


def check_marks(document: bytes) -> None:
    """Return if ``document`` is small enough to be parsed; counting takes 3 ms per megabyte.

    Marks inside of texts count as well: what has millions of those is no manifest and no header.

    Raises:
        MalformedError: it holds more values than MAX_MARKS.
    """
    marks = sum(map(document.count, _MARKS))
    if marks > MAX_MARKS:
        raise MalformedError(
            f"{len(document)} bytes of JSON with {marks} commas and brackets, above {MAX_MARKS}"
        )
