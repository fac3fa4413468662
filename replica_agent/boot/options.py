"""What can be said to ``boot`` on its command line, as one value."""

import math
import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cache_protocol.errors import MalformedError
from cache_protocol.formats import Hazard
from cache_protocol.names import check_model, check_pipeline
from replica_agent.core.urls import parse_url
from replica_agent.pull import LANES

SCHEMES = ("hf", "s3", "file")  # what replica_agent.fetch can bring
PATIENCE = 30.0  # seconds without progress; an engine that downloads itself is not far behind
_HAZARDS = {
    Hazard.PICKLE: "weights that run their author's code (.bin, .pt, …)",
    Hazard.CODE: "the repository's own code (.py, …)",
}
_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3}(,\d{1,3})*)?")


@dataclass(frozen=True, slots=True)
class Options:
    """One boot as its caller wants it."""

    pipeline: str
    command: Sequence[str]
    device: str = "auto"
    files: bool = False  # also for an engine that would take a hand-over
    keep: bool = False
    warm_up: bool = False
    report: Path | None = None
    origins: Mapping[str, str] | None = None  # model -> source
    allow: tuple[Hazard, ...] = ()  # what of ``origins`` is taken although it can run code
    health: str | None = None  # URL
    lanes: int = LANES
    patience: float = PATIENCE  # seconds
    tmpfs: bool = True  # whether files may lie on one


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of ``boot``; COMMAND is what follows ``--``, and split off before."""
    parser.add_argument("--pipeline", required=True, metavar="ID")
    parser.add_argument(
        "--device",
        default="auto",
        type=_device,
        metavar="auto|cpu|cuda|cuda:0,1",
        help="where an engine's ranks have their weights: cuda:0,1 names a GPU for each rank, cuda "
        "is GPU n for rank n, auto is cuda where there is a GPU, else cpu; what cannot be laid out "
        "there comes in host memory [%(default)s]",
    )
    parser.add_argument(
        "--files", action="store_true", help="weights as files, also for an engine of ours"
    )
    parser.add_argument("--keep", action="store_true", help="hold the weights until COMMAND ends")
    parser.add_argument(
        "--warm-up", action="store_true", help="send one request when the engine is ready"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the boot report there")
    parser.add_argument(
        "--origin",
        action="append",
        default=[],
        metavar="NAME=SOURCE",
        help="where a model comes from when the cache cannot serve it; repeatable",
    )
    for hazard, what in _HAZARDS.items():
        parser.add_argument(
            f"--allow-{hazard}",
            dest="allow",
            action="append_const",
            const=hazard,
            help=f"take {what} from an --origin, too",
        )
    parser.add_argument(
        "--health",
        type=_url,
        metavar="URL",
        help="answers 200 when the engine is ready [known engines: theirs]",
    )
    parser.add_argument("--server", metavar="URL", help="the node; default REPLICA_AGENT_SERVER")
    parser.add_argument(
        "--patience",
        type=_patience,
        default=PATIENCE,
        metavar="SECONDS",
        help="without progress before the cache is given up [%(default)s]",
    )
    parser.add_argument(
        "--no-tmpfs", action="store_true", help="files as links to memory, never on a tmpfs"
    )


def read_options(given: Namespace, command: Sequence[str]) -> Options:
    """Return the options that ``given`` holds.

    Raises:
        MalformedError: no COMMAND, or a name that is none.
    """
    if not command:
        raise MalformedError("COMMAND is missing: replica-agent boot --pipeline ID -- COMMAND …")
    return Options(
        pipeline=check_pipeline(given.pipeline),
        command=tuple(command),
        device=given.device,
        files=given.files,
        keep=given.keep,
        warm_up=given.warm_up,
        report=given.report,
        origins=dict(_origin(text) for text in given.origin),
        allow=tuple(given.allow or ()),
        health=given.health,
        patience=given.patience,
        tmpfs=not given.no_tmpfs,
    )


def _origin(text: str) -> tuple[str, str]:
    name, separator, source = text.partition("=")
    scheme, _, rest = source.partition("://")
    if not separator or scheme not in SCHEMES or not rest:
        known = ", ".join(f"{each}://" for each in SCHEMES)
        raise MalformedError(f"--origin {text!r} is not NAME=SOURCE with a source of {known}")
    return check_model(name), source


def _device(text: str) -> str:
    if not _DEVICE.fullmatch(text):
        raise ArgumentTypeError("must be auto, cpu, cuda or cuda:0,1")
    return text


def _patience(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise ArgumentTypeError("must be a number of seconds above 0")


def _url(text: str) -> str:
    try:
        target = parse_url(text)
    except MalformedError as error:
        raise ArgumentTypeError(str(error)) from error
    if target.endpoint.tls:
        raise ArgumentTypeError("an engine is asked on its own host, in plain http")
    return text
