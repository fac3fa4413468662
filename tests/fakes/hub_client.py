"""The real huggingface_hub, in the test's own process, as a program that never heard of us has it.

A node's origin sets that library up in another way for its whole process, which a unit test may
have done to this one: ``usual_client`` undoes it for the length of a block.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import set_client_factory
from huggingface_hub.utils import _http


@contextmanager
def usual_client() -> Iterator[None]:
    """Have the library make its own sessions."""
    before = _http._GLOBAL_CLIENT_FACTORY
    set_client_factory(_http.default_client_factory)
    try:
        yield
    finally:
        set_client_factory(before)
