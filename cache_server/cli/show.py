"""Tables and progress bars for people; nothing here asks the node."""

from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from cache_protocol.units import show_size
from cache_server.cli.chips import Chips
from cache_server.cli.foreign import foreign
from cache_server.core.access import DEFAULT_TENANT


def pipelines_table(pipelines: list[dict[str, Any]]) -> Table:
    """Return one row per pipeline; with whose it is, where that is not plain."""
    table = Table("pipeline", "cache", "size", "models", "last request", "last error", box=None)
    tenants = any(each["tenant"] != DEFAULT_TENANT for each in pipelines)
    if tenants:
        table.add_column("tenant")
    for each in pipelines:
        cache = each["cache"]
        error = cache.get("last_error")
        table.add_row(
            each["id"],
            Chips(cache),
            "" if cache["size"] is None else show_size(cache["size"]),
            foreign("\n".join(f"{m['name']} = {m['source']}" for m in each["models"])),
            cache["last_request"] or "never",
            foreign(f"{error['code']}: {error['detail']}" if error else ""),
            *([each["tenant"]] if tenants else []),
        )
    return table


def pipeline_tables(pipeline: dict[str, Any]) -> list[Table]:
    """Return all that is known of one pipeline."""
    tables = [pipelines_table([pipeline]), files_table(pipeline)]
    left_out = left_out_table(pipeline)
    return [*tables, left_out] if left_out.row_count else tables


def left_out_table(pipeline: dict[str, Any]) -> Table:
    """Return one row per file that stayed at its origin because of what it can do."""
    table = Table("model", "left out", "size", "it is", "allowed by", box=None)
    for model in pipeline["models"]:
        for file in model.get("left_out", []):
            size, why = show_size(file["size"]), file["why"]
            table.add_row(
                foreign(model["name"]), foreign(file["path"]), size, why, f"--allow-{why}"
            )
    return table


def files_table(pipeline: dict[str, Any]) -> Table:
    """Return one row per file of a pipeline."""
    table = Table("model", "file", "size", "filled", "sha256", box=None)
    for model in pipeline["models"]:
        for file in model.get("files", []):
            filled = "all" if file["filled"] == file["size"] else show_size(file["filled"])
            mark = file["sha256"][:16] if file["sha256"] else ""
            path = foreign(file["path"])
            table.add_row(foreign(model["name"]), path, show_size(file["size"]), filled, mark)
    return table


def plan_table(plan: dict[str, Any]) -> Table:
    """Return one row per victim of an eviction plan, in order."""
    table = Table("would go", "size", "last request", box=None)
    for each in plan["victims"]:
        table.add_row(each["id"], show_size(each["size"]), each["last_request"] or "never")
    return table


def plan_line(plan: dict[str, Any]) -> str:
    """Return what an eviction plan comes to."""
    need, free = show_size(plan["need"]), show_size(plan["free"])
    if plan["shortfall"]:
        held = ", ".join(f"{show_size(size)} {reason}" for reason, size in plan["held"].items())
        short = show_size(plan["shortfall"])
        return f"{need} needed, {free} free: nobody would go, {short} would be missing ({held})"
    if not plan["victims"]:
        return f"{need} needed, {free} free: nobody has to go"
    return f"{need} needed, {free} free: {show_size(plan['freed'])} would be freed"


def scrub_line(walk: dict[str, Any], *, over: bool) -> str:
    """Return what a scrub has found, as one line."""
    what = walk["pipeline"] or "all pipelines"
    found = f"{show_size(walk['checked'])} checked, {walk['wrong']} wrong"
    return f"{what}: {'' if over else 'running, '}{found}, {walk['unrepaired']} not repaired"


class FillBars:
    """A bar per file that is being filled, and one for all of them."""

    def __init__(self, console: Console, pipeline: str) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._all = self._progress.add_task(f"[bold]{pipeline}", total=None)
        self._files: dict[tuple[str, str], TaskID] = {}

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing."""
        self._progress.stop()

    def update(self, pipeline: dict[str, Any]) -> None:
        """Move the bars to where ``pipeline`` is."""
        cache = pipeline["cache"]
        self._progress.update(self._all, total=cache["size"], completed=cache["filled"])
        for model in pipeline["models"]:
            for file in model.get("files", []):
                self._move(model["name"], file)

    def _move(self, model: str, file: dict[str, Any]) -> None:
        key = (model, file["path"])
        whole = file["filled"] == file["size"]
        if key not in self._files:
            # A terminal has few lines: files that are whole or not begun get none.
            if whole or not file["filled"]:
                return
            self._files[key] = self._progress.add_task(
                escape(f"  {model}/{file['path']}"), total=file["size"]
            )
        self._progress.update(self._files[key], completed=file["filled"], visible=not whole)
