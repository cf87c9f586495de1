"""What the user sees: one concise line an event."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

console = Console(highlight=False, soft_wrap=True)
error_console = Console(highlight=False, soft_wrap=True, stderr=True)


def say(text: str, style: str = "") -> None:
    """One line of plain text (brackets are not markup)."""
    console.print(escape(text), style=style or None)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns of text under their heads; wide ones are folded where the terminal ends."""
    grid = Table(box=None, pad_edge=False)
    for name in head:
        grid.add_column(escape(name), overflow="fold", no_wrap=name == head[0])
    for row in rows:
        grid.add_row(*map(escape, row))
    wide = console if console.is_terminal else Console(highlight=False, width=200)  # a file has room
    wide.print(grid)


def warn(text: str) -> None:
    error_console.print(f"[yellow]warning:[/yellow] {escape(text)}")


def error(text: str) -> None:
    error_console.print(f"[red]error:[/red] {escape(text)}")


def show_warnings_briefly() -> None:
    """Print Python warnings as one line each, without source lines."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        warn(f"{category.__name__}: {message}")

    warnings.showwarning = show


def number(value: Any) -> str:
    """A number for people: four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
