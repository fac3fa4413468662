"""How far the node's end has come: nobody new comes in, then nothing is waited for any more."""

import threading

from cache_protocol.errors import DrainingError


class Ending:
    """Two steps, each taken once. Safe for threads; takes no lock that a disk may hold."""

    def __init__(self) -> None:
        self._draining = threading.Event()
        self.closing = threading.Event()  # whoever only watches or repeats stops

    @property
    def draining(self) -> bool:
        """Whether the node is about to stop and takes no new reader."""
        return self._draining.is_set()

    def drain(self) -> None:
        """Take no new reader and begin no new fill."""
        self._draining.set()

    def check_admission(self) -> None:
        """Refuse new readers and new fills if the node is about to stop; DrainingError."""
        if self.draining:
            raise DrainingError("the node is being stopped and takes no new work; ask another node")
