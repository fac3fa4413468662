"""The ``replica-agent`` command: read the settings, pick the parts, show what happens.

Everything that is imported here delays the first byte; rare things are imported where they are
used. Only this file reads the environment and writes to the terminal.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

from cache_protocol.errors import (
    CacheError,
    CapacityError,
    DrainingError,
    ForbiddenError,
    IntegrityError,
    MalformedError,
    OriginDeniedError,
    QuotaError,
    ServerUnreachableError,
    UnauthorizedError,
    UnknownPipelineError,
)
from cache_protocol.names import check_pipeline
from cache_protocol.units import show_size
from replica_agent import process
from replica_agent.client import ControlClient
from replica_agent.files import pull_to
from replica_agent.pull import LANES, Pull
from replica_agent.report import Boot, Phase, to_json, to_table
from replica_agent.settings import HELP, Settings, from_environment

_EXIT: tuple[tuple[type[CacheError], int, str], ...] = (
    (UnknownPipelineError, 3, "nobody registered this pipeline"),
    (UnauthorizedError, 4, "the node, or the origin, refuses access"),
    (ForbiddenError, 4, "the node, or the origin, refuses access"),
    (OriginDeniedError, 4, "the node, or the origin, refuses access"),
    (IntegrityError, 5, "the bytes are not the promised bytes"),
    (CapacityError, 6, "no room: here, or on the node"),
    (QuotaError, 6, "no room: here, or on the node"),
    (ServerUnreachableError, 7, "the node does not answer, or is being stopped"),
    (DrainingError, 7, "the node does not answer, or is being stopped"),
)
_CODES = {0: "every file is there and verified", 1: "another failure", 2: "wrong usage"}
_BOOT = """\
Starts the pull, then COMMAND as soon as the models' small files are there, hands the
weights over and reports. {NAME} in COMMAND is the directory of the model NAME, {model}
that of the only one. An engine that does not ask for the load format 'warmline' gets
verified files, and starts when they are whole."""
_DOCTOR = """\
Looks, and starts nothing: the node, memory, directories, the engine that COMMAND would
start and our plug-in in it, and the origin that stands by."""
_BLINK = 0.2  # seconds between two looks at the progress


def main(argv: list[str] | None = None) -> int:
    """Run the command with ``argv``; return its exit code."""
    born = process.started()
    words, command = _split(sys.argv[1:] if argv is None else argv)
    arguments = _parser().parse_args(words)
    try:
        settings = _settings(arguments)
        check_pipeline(arguments.pipeline)
        task = _task(arguments, command, settings, born)
    except MalformedError as error:
        return _complain(error, 2)
    usual = signal.signal(signal.SIGTERM, _leave)  # a container that is stopped tidies up as well
    try:
        return task()
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells say it
    except CacheError as error:
        return _complain(error, exit_code(error))
    except OSError as error:
        return _complain(error, 1)
    finally:
        signal.signal(signal.SIGTERM, usual)


def exit_code(error: CacheError) -> int:
    """Return the documented exit code of ``error``."""
    return next((code for kind, code, _ in _EXIT if isinstance(error, kind)), 1)


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Return our own words, and COMMAND after the first ``--`` as it stands."""
    if "--" not in argv:
        return argv, []
    end = argv.index("--")
    return argv[:end], argv[end + 1 :]


def _task(
    arguments: argparse.Namespace, command: list[str], settings: Settings, born: float
) -> Callable[[], int]:
    """Return what there is to do; MalformedError when the words make no sense together."""
    if arguments.verb == "boot":
        # Imported here: nobody else needs it.
        from replica_agent.boot.options import read_options  # noqa: PLC0415
        from replica_agent.boot.run import boot  # noqa: PLC0415

        return partial(boot, settings, read_options(arguments, command), born)
    if arguments.verb == "doctor":
        return partial(_examine, arguments, settings, command)
    if command:
        raise MalformedError("pull takes no COMMAND: see replica-agent boot")
    return partial(_pull, arguments, settings, born)


def _examine(arguments: argparse.Namespace, settings: Settings, command: list[str]) -> int:
    from replica_agent.boot import doctor  # noqa: PLC0415 - as above
    from replica_agent.boot.command import takes_handover  # noqa: PLC0415

    diagnosis = doctor.examine(settings, arguments.pipeline, command)
    show = doctor.to_json if arguments.json else doctor.to_text
    sys.stdout.write(show(diagnosis) + "\n")
    by_memory = not command or takes_handover(command)
    wanted = ("command", "cache", *(["hand-over"] if by_memory else []))
    return 0 if all(map(diagnosis.works, wanted)) else 1


def _pull(arguments: argparse.Namespace, settings: Settings, born: float) -> int:
    ready = Phase("agent-start", 0.0, time.monotonic() - born)
    wall = datetime.now(UTC) - timedelta(seconds=ready.seconds)
    client = ControlClient.of(settings)
    to: Path = arguments.to
    with pull_to(client, arguments.pipeline, to, lanes=arguments.lanes, origin=born) as pull:
        pull.phases.insert(0, ready)  # the pull runs by now, and may have had its manifest
        try:
            _watch(pull)
        finally:
            _tell(pull.boot("files", wall), arguments)
    return 0


def _watch(pull: Pull) -> None:
    """Wait for the end; on a terminal, show one line of progress meanwhile."""
    if not sys.stderr.isatty():
        pull.wait()
        return
    try:
        while not pull.wait(_BLINK):
            sys.stderr.write(f"\r\x1b[K{_line(pull)}")
            sys.stderr.flush()
    finally:
        sys.stderr.write("\r\x1b[K")


def _line(pull: Pull) -> str:
    transfer = pull.current
    if transfer is None:
        return "asking for the manifest"
    done, size = transfer.verified_bytes, transfer.manifest.size
    confirmed = sum(s.confirmed for s in transfer.files)
    share = 100 * done / size if size else 100.0
    return (
        f"{share:3.0f} %  {show_size(done)} of {show_size(size)}, "
        f"{confirmed} of {len(transfer.files)} files confirmed"
    )


def _tell(boot: Boot, arguments: argparse.Namespace) -> None:
    report = json.dumps(to_json(boot), indent=2)
    if arguments.report is not None:
        arguments.report.write_text(report + "\n")
    if arguments.json:
        sys.stdout.write(report + "\n")
    elif boot.ok:
        sys.stdout.write(to_table(boot) + "\n")


def _complain(error: Exception, code: int) -> int:
    sys.stderr.write(f"replica-agent: {error}\n")
    return code


def _leave(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _settings(arguments: argparse.Namespace) -> Settings:
    settings = from_environment(os.environ)
    if arguments.server is None:
        return settings
    return replace(settings, server=arguments.server)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="replica-agent",
        description="Brings a pipeline's verified weights to this host.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show it and exit")
    commands = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    pull = commands.add_parser(
        "pull",
        help="verified files in a directory",
        description="Writes every file of a pipeline to DIR/<model>/<path>.\n"
        "A file has its name only once it is whole and confirmed.",
        epilog=_exit_codes(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pull.add_argument("--pipeline", required=True, metavar="ID")
    pull.add_argument("--to", required=True, type=_directory, metavar="DIR")
    pull.add_argument("--server", metavar="URL", help="the node; default REPLICA_AGENT_SERVER")
    pull.add_argument("--lanes", type=_lanes, default=LANES, metavar="N", help="connections")
    pull.add_argument("--json", action="store_true", help="print the boot report as JSON")
    pull.add_argument("--report", type=Path, metavar="FILE", help="write the boot report there")
    _add_boot(commands)
    _add_doctor(commands)
    return parser


class _Version(argparse.Action):
    """Shows the version. Only who asks for it waits until the package's metadata is found."""

    def __call__(self, parser: argparse.ArgumentParser, *_given: object) -> NoReturn:
        from importlib.metadata import version  # noqa: PLC0415 - as above

        print(f"{parser.prog} {version('warmline')}")  # noqa: T201 - a command talks to its terminal
        parser.exit()


def _add_boot(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from replica_agent.boot.options import add_arguments  # noqa: PLC0415 - as above

    boot = commands.add_parser(
        "boot",
        help="start an engine whose weights come beside it",
        usage="replica-agent boot --pipeline ID [options] -- COMMAND …",
        description=_BOOT,
        epilog="exit code: that of COMMAND, 128 + n where signal n ended it, 127 and 126 where it "
        "cannot be started;\nbefore COMMAND, one of these\n" + _exit_codes(from_code=1),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(boot)


def _add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    doctor = commands.add_parser(
        "doctor",
        help="what a boot would do on this host, and why",
        usage="replica-agent doctor --pipeline ID [options] [-- COMMAND …]",
        description=_DOCTOR,
        epilog="exit code: 0 when a boot would use the cache (and, for COMMAND with --load-format "
        "warmline\nor none, the hand-over), else 1; 2 wrong usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doctor.add_argument("--pipeline", required=True, metavar="ID")
    doctor.add_argument("--server", metavar="URL", help="the node; default REPLICA_AGENT_SERVER")
    doctor.add_argument("--json", action="store_true", help="JSON for programs")


def _lanes(text: str) -> int:
    with suppress(ValueError):
        if 1 <= int(text) <= 64:
            return int(text)
    raise argparse.ArgumentTypeError("must be a number from 1 to 64")


def _directory(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("must name a directory; '.' is this one")
    return Path(text)


def _exit_codes(from_code: int = 0) -> str:
    meanings = _CODES | {code: meaning for _, code, meaning in _EXIT} | {130: "interrupted"}
    return "exit codes:\n" + "\n".join(
        f"  {c:<4} {m}" for c, m in sorted(meanings.items()) if c >= from_code
    )


if __name__ == "__main__":
    sys.exit(main())
