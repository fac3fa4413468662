"""The commands, one function each: ask the node, show the answer."""

import json
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from rich.console import Console

from cache_protocol import routes
from cache_protocol.errors import CacheError, IntegrityError, MalformedError, from_problem
from cache_protocol.units import show_size
from cache_server.cli.api import NodeApi
from cache_server.cli.boots import last_boot_of
from cache_server.cli.chips import chip_words
from cache_server.cli.printing import say, show_tables
from cache_server.cli.show import (
    FillBars,
    pipeline_tables,
    pipelines_table,
    scrub_line,
)

POLL = 0.2  # seconds between two looks at a running fill


def put(api: NodeApi, args: Namespace) -> None:
    """``pipelines put``: register one pipeline, or all of a file."""
    if args.file is not None:
        if args.id or args.model:
            raise MalformedError("give either ID --model NAME=SOURCE or --file, not both")
        # Imported here: it brings pydantic, half of what another command takes to start.
        from cache_server.pipelines_file import read_pipelines  # noqa: PLC0415

        for entry in read_pipelines(Path(args.file)):
            body = entry.body.model_dump(exclude_none=True)
            say(args, api.call("PUT", routes.pipeline(entry.id), body), f"{entry.id}: registered")
        return
    if not args.id or not args.model:
        raise MalformedError("give ID and at least one --model NAME=SOURCE, or --file")
    models = [_model(text, args) for text in args.model]
    pipeline_body: dict[str, Any] = {"models": models}
    for flag in ("pinned", "warm"):
        if getattr(args, flag):
            pipeline_body[flag] = True
    answer = api.call("PUT", routes.pipeline(args.id), pipeline_body)
    say(args, answer, f"{args.id}: registered with {len(models)} model(s)")


def ls(api: NodeApi, args: Namespace) -> None:
    """``pipelines ls``."""
    answer = api.call("GET", routes.PIPELINES)
    show_tables(args, answer, pipelines_table(answer["pipelines"]))


def show(api: NodeApi, args: Namespace) -> None:
    """``pipelines show``."""
    answer = api.call("GET", routes.pipeline(args.id))
    # Where the time of its last start went is the next question, and nobody has to ask it.
    last = [] if args.json else last_boot_of(api, args.id)
    show_tables(args, answer, *pipeline_tables(answer), *last)


def rm(api: NodeApi, args: Namespace) -> None:
    """``pipelines rm``."""
    answer = api.call("DELETE", routes.pipeline(args.id) + ("?force=true" if args.force else ""))
    say(args, answer, f"{args.id}: removed, {show_size(answer['freed'])} freed")


def warm(api: NodeApi, args: Namespace) -> None:
    """``warm``: start a fill; with ``--wait`` stay until it is over."""
    body = {"refresh": True} if args.refresh else {}
    answer = api.call("POST", routes.pipeline(args.id, "warm"), body)
    if not args.wait:
        say(args, answer, f"{args.id}: {chip_words(answer['cache'])}")
    elif args.json or not sys.stdout.isatty():
        _wait_in_lines(api, args)
    else:
        _wait_with_bars(api, args)


def scrub(api: NodeApi, args: Namespace) -> None:
    """``scrub``: have the node check what lies on its disk; with ``--wait`` stay until it has.

    Raises:
        IntegrityError: something is wrong that could not be repaired.
    """
    answer = api.call("POST", routes.SCRUB, {} if args.id is None else {"pipeline": args.id})
    if args.wait:
        answer = _wait_for_scrub(api, answer, moving=not args.json and sys.stdout.isatty())
    done = answer.get("last") if args.wait else answer
    if done is None:
        raise IntegrityError("the pass ended without a result; the node was restarted")
    say(args, answer, scrub_line(done, over=args.wait))
    if args.wait and done["unrepaired"]:
        raise IntegrityError(f"{done['unrepaired']} places could not be repaired; see the log")


def _wait_for_scrub(api: NodeApi, scrub: dict[str, Any], *, moving: bool) -> dict[str, Any]:
    """Return how it ended; meanwhile say on a terminal how far it is."""
    with Console(quiet=not moving).status("") as line:
        while scrub["running"]:
            line.update(scrub_line(scrub, over=False))
            time.sleep(POLL)
            scrub = api.call("GET", routes.STATUS)["scrub"]
    return scrub


def _wait_with_bars(api: NodeApi, args: Namespace) -> None:
    with FillBars(Console(), args.id) as bars:
        while True:
            pipeline = api.call("GET", routes.pipeline(args.id))
            bars.update(pipeline)
            if _over(pipeline["cache"], refresh=args.refresh):
                break
            time.sleep(POLL)
    print(f"{args.id}: warm")  # noqa: T201 - a command talks to its terminal


def _wait_in_lines(api: NodeApi, args: Namespace) -> None:
    last: dict[str, Any] = {}
    while True:
        cache = api.call("GET", routes.pipeline(args.id))["cache"]
        line = {k: cache[k] for k in ("state", "size", "filled")}
        if line != last:
            last = line
            print(json.dumps({"pipeline": args.id, **line}), flush=True)  # noqa: T201
        if _over(cache, refresh=args.refresh):
            return
        time.sleep(POLL)


def _over(cache: dict[str, Any], *, refresh: bool) -> bool:
    """Whether the fill has ended well; its error is raised.

    A warm pipeline may show an error of a refresh long ago, which concerns only a new refresh:
    an attempt that goes well takes it away.
    """
    ended = cache["state"] in ("warm", "cold") and "next" not in cache
    if ended and "last_error" in cache and (refresh or not cache["warm"]):
        raise from_problem(cache["last_error"])
    if ended and not cache["warm"]:  # a fill that runs says so from the moment it was asked for
        raise CacheError("the pipeline was evicted while it was waited for; warm it again")
    return ended


def _model(text: str, args: Namespace) -> dict[str, Any]:
    name, separator, source = text.partition("=")
    if not separator:
        raise MalformedError(f"--model {text!r} is not NAME=SOURCE")
    model: dict[str, Any] = {"name": name, "source": source}
    for field in ("include", "exclude", "credentials", "allow_pickle", "allow_code"):
        if value := getattr(args, field):
            model[field] = value
    return model
