"""A generation that is not kept: each span comes from the origin when a replica asks for it.

For pipelines that there is no room for. Nothing here writes to the disk, and memory is bounded,
for all such generations together: by the turns, and by the window.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from cache_protocol.errors import BusyError, GenerationGoneError, OriginChangedError
from cache_server.core.content import Content
from cache_server.fill.passing_file import PassingFile
from cache_server.fill.pieces import Pause, RemoteFile
from cache_server.fill.turns import Turns
from cache_server.fill.window import Window
from cache_server.ports import Origin

MAX_STREAMS = 32  # on the whole node; 8 replicas of 4 lanes, each with another pipeline
TURN_WAIT = 30.0  # seconds; half of what a replica waits for a byte before it hangs up


@dataclass(frozen=True, slots=True)
class Bounds:
    """What all generations that pass through this node share."""

    turns: Turns = field(default_factory=lambda: Turns(MAX_STREAMS))
    window: Window = field(default_factory=Window)


class PassingGeneration:
    """The files of one generation that passes through. Safe for threads; ``close`` it."""

    def __init__(
        self,
        content: Content,
        origins: Mapping[str, Origin],
        bounds: Bounds,
        *,
        reason: str,
        pulled: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Serve ``content`` from ``origins`` by model, which belong to it from now on.

        Args:
            content: what was resolved.
            origins: by name of the model.
            bounds: of the node.
            reason: why it is not kept, for the replica's report.
            pulled: is told the bytes that came from an origin, piece by piece.
        """
        self.id = content.generation  # that of the same content on disk: a replica may change over
        self.content = content
        self.reason = reason
        self.pulled = pulled
        self.bounds = bounds
        self.changed: OriginChangedError | None = None  # its content is nowhere any more
        self.files = tuple(
            PassingFile(n, model.name, file, self)
            for n, (model, file) in enumerate(content.files())
        )
        self._by_name = {(f.model, f.origin.path): f for f in self.files}
        self._revisions = {m.name: m.revision for m in content.models}
        self._origins = origins
        self._lock = threading.Lock()
        self._streams = 0
        self._gone = threading.Event()

    def file(self, model: str, path: str) -> PassingFile:
        """Return one file; FileNotFoundError if there is none of that name."""
        try:
            return self._by_name[model, path]
        except KeyError:
            raise FileNotFoundError(f"{model}/{path}") from None

    def pause(self, seconds: float) -> None:
        """Wait; GenerationGoneError as soon as the generation is closed."""
        if self._gone.wait(seconds):
            raise GenerationGoneError("the generation has been given up")

    @property
    def streaming(self) -> bool:
        """Whether bytes of it are on their way."""
        return self._streams > 0

    @contextmanager
    def remote(self, file: PassingFile, pause: Pause) -> Iterator[RemoteFile]:
        """Hold the node's turn and the origin of ``file`` for one stream."""
        bounds, tenant = self.bounds, self.content.tenant
        with bounds.turns.turn(tenant, _patience(pause, bounds.turns.limit)):
            self._enter()
            try:
                origin, revision = self._origins[file.model], self._revisions[file.model]
                yield RemoteFile(origin, revision, file.origin)
            except OriginChangedError as error:
                self.changed = error
                raise
            finally:
                self._leave()

    def close(self) -> None:
        """Let no stream begin; the last one that runs closes the origins."""
        files = set(self.files)
        self.bounds.window.drop_where(lambda name: name[0] in files)
        with self._lock:
            first = not self._gone.is_set()
            self._gone.set()
            idle = self._streams == 0
        if first and idle:
            self._close_origins()

    def _enter(self) -> None:
        with self._lock:
            self.pause(0)
            self._streams += 1

    def _leave(self) -> None:
        with self._lock:
            self._streams -= 1
            last = self._streams == 0 and self._gone.is_set()
        if last:
            self._close_origins()

    def _close_origins(self) -> None:
        with ExitStack() as closing_all:  # all of them, whatever one says
            for origin in self._origins.values():
                closing_all.callback(origin.close)


def _patience(pause: Pause, limit: int) -> Callable[[], None]:
    """Return what is called while somebody waits for one of ``limit`` streams, by ``pause``."""
    deadline = time.monotonic() + TURN_WAIT

    def wait() -> None:
        if time.monotonic() >= deadline:
            raise BusyError(f"{limit} streams from origins run, and none ended in time")
        pause(0)

    return wait
