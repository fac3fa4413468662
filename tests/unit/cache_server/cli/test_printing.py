"""What a pipe gets of a table: all of it."""

from argparse import Namespace

from rich.table import Table

from cache_server.cli.printing import show_tables


def test_a_pipe_cuts_no_line_however_long(capsys):
    table = Table("pipeline", "source", box=None)
    table.add_row("voice" * 20, "hf://org/" + "x" * 1000)
    show_tables(Namespace(json=False), {}, table)
    last = capsys.readouterr().out.splitlines()[-1].split()
    assert last == ["voice" * 20, "hf://org/" + "x" * 1000]
