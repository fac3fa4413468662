"""What the demo says: the same facts on a terminal, in colour, and in a pipe, without."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from benchmarks.node import Node
from cache_protocol.units import show_size
from demo.boots import Boot, OnProgress, Phase

_BAR = 32  # characters of a time line
_STYLES = {
    "agent-start": "dim",
    "manifest": "cyan",
    "pull": "green",
    "engine-import": "magenta",
    "weight-wait": "yellow",
    "load": "blue",
}


_PIPED = 100  # columns where there is no terminal to ask


class Screen:
    """The demo's voice."""

    def __init__(self) -> None:
        """Write to stdout; colour and live bars only where it is a terminal."""
        found = Console(highlight=False)
        self.console = found if found.is_terminal else Console(highlight=False, width=_PIPED)

    def say(self, text: str) -> None:
        """Print one line, however long: it may be a command to copy."""
        self.console.print(text, soft_wrap=True)

    def opening(self, node: Node, pipeline: str, sources: Mapping[str, Path]) -> None:
        """Say what is about to run."""
        self.console.print()
        grid = Table.grid(padding=(0, 2))
        grid.add_row("[bold]node", f"{node.control}   root {node.root}")
        for n, (name, directory) in enumerate(sources.items()):
            files = [path for path in directory.rglob("*") if path.is_file()]
            size = show_size(sum(path.stat().st_size for path in files))
            label = f"[bold]pipeline[/] {pipeline}" if n == 0 else ""
            grid.add_row(label, f"{name}: {len(files)} files, {size}")
        self.console.print(grid)
        self.console.print()

    @contextmanager
    def progress(self, title: str, size: int) -> Iterator[OnProgress]:
        """Show a bar while bytes arrive; nothing where there is no terminal."""
        if not self.console.is_terminal:
            yield lambda _: None
            return
        with Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(_BAR),
            TaskProgressColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=self.console,
            transient=True,
        ) as bars:
            task = bars.add_task(title, total=size)
            yield lambda arrived: bars.update(task, completed=arrived)

    def boot(self, title: str, boot: Boot) -> None:
        """Show the phases of one boot as a table with a time line."""
        rate = show_size(boot.size / boot.phase("pull").seconds)
        self.say(
            f"[bold]{title}[/]  {show_size(boot.size)} pulled and checked at {rate}/s, "
            f"loaded {boot.seconds:.2f} s after exec"
        )
        table = Table(header_style="dim", box=None, padding=(0, 2, 0, 0))
        table.add_column("phase", no_wrap=True)
        table.add_column("start", justify="right", no_wrap=True)
        table.add_column("seconds", justify="right", no_wrap=True)
        table.add_column("exec → loaded", no_wrap=True, width=_BAR)
        for phase in boot.phases:
            line = _time_line(phase, boot.seconds)
            table.add_row(phase.name, f"{phase.start:.3f}", f"{phase.seconds:.3f}", line)
        self.console.print(table)
        self.console.print(_compared(boot))
        self.console.print()

    def closing(self, cold: Boot, warm: Boot, *, equal: bool) -> None:
        """Say what it comes to."""
        ratio = cold.weights_after / warm.weights_after
        self.console.print(
            f"Verified weights in memory after [bold]{cold.weights_after:.2f} s[/] cold, "
            f"[bold]{warm.weights_after:.2f} s[/] warm: cold / warm = [bold]{ratio:.1f} x[/]. "
            f"With torch imported, the engine waited {cold.waited:.2f} s and {warm.waited:.2f} s. "
            + ("[green]Every tensor is equal.[/]" if equal else "[red]Tensors differ.[/]")
        )


def _time_line(phase: Phase, total: float) -> Text:
    first = min(_BAR - 1, round(phase.start / total * _BAR))
    length = max(1, min(_BAR - first, round(phase.seconds / total * _BAR)))
    return Text(" " * first + "━" * length, style=_STYLES.get(phase.name, ""))


def _compared(boot: Boot) -> str:
    if boot.different:
        names = ", ".join(boot.different[:5])
        return f"[red]{len(boot.different)} of {boot.tensors} tensors differ:[/] {names}"
    return f"[green]✓[/] {boot.tensors} tensors equal to the safetensors library's reading"
