"""One boot from its first request to its engine's last breath."""

import json
import sys
import threading
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta

from cache_protocol.errors import CacheError
from replica_agent.boot import places
from replica_agent.boot.by_files import FilesWay
from replica_agent.boot.by_memory import MemoryWay
from replica_agent.boot.by_origin import OriginWay
from replica_agent.boot.command import fill_in, health_url, takes_handover, without_handover
from replica_agent.boot.home import Home
from replica_agent.boot.options import Options
from replica_agent.boot.record import Record
from replica_agent.boot.supervisor import NOT_EXECUTABLE, NOT_FOUND, Supervisor
from replica_agent.boot.watch import is_healthy, warm_up
from replica_agent.boot.ways import Trip, Way
from replica_agent.client import ControlClient
from replica_agent.report import Phase, to_json, to_table
from replica_agent.settings import Settings

LOOK = 0.05  # seconds between two looks at the engine


def boot(settings: Settings, options: Options, born: float) -> int:
    """Boot; return the exit code of COMMAND.

    Raises:
        CacheError: COMMAND was not started, because there are no weights for it.
    """
    age = time.monotonic() - born
    record = Record(born, datetime.now(UTC) - timedelta(seconds=age))
    record.phases.append(Phase("agent-start", 0.0, age))
    with Supervisor() as supervisor, ExitStack() as cleanup:
        home = _home(settings, options.pipeline)
        cleanup.callback(home.close)
        return _Boot(Trip(options, settings, home, record), supervisor, cleanup).run()


def _home(settings: Settings, pipeline: str) -> Home:
    """Return a directory for the models; another one where the usual one is not to be had."""
    try:
        return Home(places.base(settings.state_dir), pipeline)
    except (CacheError, OSError) as error:
        for base in places.other_bases():
            with suppress(CacheError, OSError):
                home = Home(base, pipeline)
                home.canonical = False
                _say(f"{error}; the models are at {home.path}")
                return home
        raise


class _Boot:
    """The parts of one boot, and the thread that follows the engine."""

    def __init__(self, trip: Trip, supervisor: Supervisor, cleanup: ExitStack) -> None:
        self._trip = trip
        self._record = trip.record
        self._supervisor = supervisor
        self._cleanup = cleanup
        self._ended = threading.Event()
        self._health = trip.options.health or health_url(trip.options.command)

    def run(self) -> int:
        self._note_circumstances()
        way = self._first_way()
        try:
            way, command = self._prepare(way)
        except (CacheError, OSError) as error:
            self._record.fail(str(error) or repr(error))
            self._record.once(lambda: self._tell(way))
            raise
        return self._supervise(way, command)

    def _first_way(self) -> Way:
        options = self._trip.options
        by_memory = takes_handover(options.command) and not options.files
        way: Way
        way = MemoryWay(self._trip) if by_memory else FilesWay(self._trip)
        self._cleanup.callback(way.close)
        return way

    def _prepare(self, way: Way) -> tuple[Way, list[str]]:
        """Return the way that works, and COMMAND with its directories."""
        options = self._trip.options
        try:
            directories = way.prepare()
        except (CacheError, OSError) as error:
            if self._trip.settings.fallback == "fail":
                raise
            way = self._go_around(way, error)
            directories = way.prepare()
        command = fill_in(options.command, directories)
        return way, (command if isinstance(way, MemoryWay) else without_handover(command))

    def _go_around(self, way: Way, error: Exception) -> Way:
        way.close()
        _say(f"the cache cannot serve {self._trip.options.pipeline}: {error}; going to the origin")
        around = OriginWay(self._trip, error, way.pull)
        self._cleanup.callback(around.close)
        return around

    def _supervise(self, way: Way, command: list[str]) -> int:
        started = time.monotonic()
        try:
            self._supervisor.start(command)
        except OSError as error:
            self._record.fail(f"COMMAND cannot be started: {error}")
            self._record.once(lambda: self._tell(way))
            _say(f"COMMAND cannot be started: {error}")
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        follower = threading.Thread(target=self._follow, args=(way, started), name="follower")
        follower.start()
        try:
            code = self._supervisor.wait()
        finally:
            self._ended.set()
            way.hasten()
            follower.join()
        self._record.once(lambda: self._tell_the_end(way, started, code))
        return code

    def _follow(self, way: Way, started: float) -> None:
        """Follow the engine, and then leave what was learned of it, in nobody's way."""
        self._watch(way, started)
        if not self._ended.is_set():
            for trouble in way.leave():
                _say(trouble)

    def _watch(self, way: Way, started: float) -> None:
        """Watch the engine until it has its weights and is ready; give the weights up."""
        taken = False
        while not self._ended.is_set() and not (taken and self._record.told):
            if taken:
                self._ended.wait(LOOK)
            elif way.taken(LOOK):
                taken = True
            if not self._record.told and self._ready(taken=taken, in_place=way.in_place):
                self._note_ready(way, started)
                if self._health is not None:  # else ready means no more than taken
                    taken = True
                    way.settle()
            if taken and not self._trip.options.keep:
                way.release()
            if self._record.told and way.in_place and self._health is None:
                return  # nothing more will be seen: the files stay until COMMAND ends

    def _ready(self, *, taken: bool, in_place: bool) -> bool:
        if self._health is not None:
            return is_healthy(self._health)
        return taken or in_place

    def _note_ready(self, way: Way, started: float) -> None:
        self._record.ready = time.monotonic()
        way.note_load(started)
        if self._trip.options.warm_up:
            self._warm_up()
        self._record.once(lambda: self._tell(way))

    def _warm_up(self) -> None:
        if self._health is None:
            self._record.notes.append("no warm-up: the engine's address is not known, see --health")
            return
        done = warm_up(self._health)
        if isinstance(done, str):
            self._record.notes.append(done)
            return
        self._record.phase("warm-up", done.began, done.began + done.seconds)
        self._record.phase("first-token", done.began, done.began + done.first_token)
        self._record.ready = done.began + done.seconds

    def _tell_the_end(self, way: Way, started: float, code: int) -> None:
        """Report on an engine that ended before it was seen to be ready."""
        taken = way.in_place or way.taken(0)
        way.note_load(started)
        if self._health is not None or not taken:
            self._record.fail(f"the engine ended with code {code} before it was ready")
        self._tell(way)

    def _tell(self, way: Way) -> None:
        """Print the report, write it, post it: whatever fails of that is said, and no more."""
        self._note_device(way)
        report = self._record.complete(way.pull)
        _say(f"boot of {report.pipeline}\n{to_table(report)}")
        fields = to_json(report)
        path = self._trip.options.report
        try:
            if path is not None:
                path.write_text(json.dumps(fields, indent=2) + "\n")
        except OSError as error:
            _say(f"the report cannot be written: {error}")
        settings = self._trip.settings
        try:
            ControlClient.of(settings).post_boot(fields)
        except CacheError as error:
            _say(f"the report cannot be posted: {error}")

    def _note_circumstances(self) -> None:
        home = self._trip.home
        if not home.canonical:
            self._record.notes.append(
                f"the models are at {home.path}, not where every replica has them, so compile "
                "caches will miss: the usual directory is in use by another boot, or not ours"
            )

    def _note_device(self, way: Way) -> None:
        device = self._trip.options.device
        if device.startswith("cuda") and not way.on_device:
            self._record.notes.append(
                f"weights come in host memory; the engine copies them to {device}"
            )


def _say(text: str) -> None:
    sys.stderr.write(f"replica-agent: {text}\n")
    sys.stderr.flush()
