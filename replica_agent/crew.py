"""The threads of one transfer: started together, ended together, and replaced where the disk hangs.

one for verdicts, n lanes  ──>  a lane that waits for this host's disk for too long is left
                                behind, and one that reads over the network takes its place
"""

import threading
import time
from pathlib import Path

from replica_agent.lanes import Lane
from replica_agent.recovery import Recovery
from replica_agent.transfer import Transfer
from replica_agent.trust import Trust
from replica_agent.verdicts import Verdicts

LOOK = 1.0  # seconds between two looks at the lanes
# Seconds that one piece may take to come off this host's disk. The node, asked over the network,
# notices a disk that hangs within as many, and says so.
DISK_PATIENCE = 10.0
LEAVING = 1.0  # seconds that a lane gets to end; only a read of a dead disk takes longer


class Crew:
    """Who works on a transfer. Used by one thread."""

    def __init__(
        self,
        transfer: Transfer,
        recovery: Recovery,
        trust: Trust,
        *,
        lanes: int,
        local: Path | None = None,
    ) -> None:
        """Prepare ``lanes`` lanes; ``local`` as ``Lane`` has it."""
        self.disk_hangs = False  # a lane was left behind in it
        self._transfer = transfer
        self._recovery = recovery
        self._trust = trust
        self._verdicts = Verdicts(transfer, recovery, trust)
        self._lanes = [Lane(transfer, recovery, trust, local) for _ in range(lanes)]
        self._threads: dict[Lane | Verdicts, threading.Thread] = {}

    def start(self) -> None:
        """Begin to work."""
        self._start(self._verdicts)
        for lane in self._lanes:
            self._start(lane)

    def look(self) -> None:
        """Put another lane in the place of each that hangs in the disk."""
        for number, lane in enumerate(self._lanes):
            if lane.give_up_after(DISK_PATIENCE):
                self.disk_hangs = True
                self._transfer.remark(
                    "read over the network from here on: this host's disk did not give a piece of "
                    f"a file within {DISK_PATIENCE:.0f} s"
                )
                self._threads.pop(lane)
                lane.line.cut()  # its thread cannot: a disk may hang for good
                self._lanes[number] = Lane(self._transfer, self._recovery, self._trust)
                self._start(self._lanes[number])

    def end(self) -> None:
        """Cut what waits and return when everybody has ended, but for who hangs in the disk."""
        for worker in self._threads:
            worker.line.cut()
        for lane in self._lanes:
            self._see_off(lane)
        if self._verdicts in self._threads:
            self._threads[self._verdicts].join()

    def _see_off(self, lane: Lane) -> None:
        thread = self._threads.get(lane)
        deadline = time.monotonic() + LEAVING
        while thread is not None and thread.is_alive():
            thread.join(LEAVING / 4)
            if time.monotonic() > deadline and lane.give_up_after(LEAVING):
                return

    def _start(self, worker: Lane | Verdicts) -> None:
        thread = threading.Thread(target=worker.run, daemon=True)
        self._threads[worker] = thread
        thread.start()
