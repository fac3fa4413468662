"""Words that somebody else wrote, on an operator's terminal: names, reasons, addresses.

A report of a boot may come from a host that an attacker owns. What it says is shown, and never
obeyed: neither as rich's markup nor as a terminal's control sequences.
"""

from rich.text import Text


def foreign(words: str, style: str = "") -> Text:
    """Return ``words`` with everything that is no printable character written out."""
    return Text(visible(words), style=style)


def visible(words: str) -> str:
    """Return ``words`` with all but printable characters and ends of lines written out."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in words)
