"""How an answer gets onto a terminal, or to a program."""

import json
import sys
from argparse import Namespace
from typing import Any

from rich.console import Console, RenderableType

_WIDTH = 100_000  # columns, where nobody looks: a pipe cuts no line


def say(args: Namespace, answer: dict[str, Any], line: str) -> None:
    """Print ``line`` for people, or ``answer`` for programs."""
    print(json.dumps(answer) if args.json else line)  # noqa: T201 - a command talks to its terminal


def show_tables(args: Namespace, answer: dict[str, Any], *tables: RenderableType) -> None:
    """Print ``tables`` for people, or ``answer`` for programs."""
    if args.json:
        print(json.dumps(answer))  # noqa: T201 - a command talks to its terminal
        return
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    for table in tables:
        console.print(table)
