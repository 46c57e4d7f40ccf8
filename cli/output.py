"""Output of all commands: results on stdout, everything else on stderr, and the exit codes.

0    done
1    the work failed: a file, a check, a request the server refused
2    the command line or a setting is wrong
3    the server cannot be reached, or is up and not ready
4    not authorised
130  Ctrl-C
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from schemas.errors import FluxionsError, Forbidden, Unauthenticated, Unavailable

OK = 0
FAILED = 1
UNREACHABLE = 3
UNAUTHORISED = 4
INTERRUPTED = 130


def exit_code(error: FluxionsError) -> int:
    """The exit code for an error."""
    if isinstance(error, Unavailable):
        return UNREACHABLE
    if isinstance(error, Unauthenticated | Forbidden):
        return UNAUTHORISED
    return FAILED


def error_json(error: FluxionsError) -> dict[str, Any]:
    """The API's error body, for errors of the client as well as of the server."""
    return {"error": {"message": error.message, "type": error.type, "code": error.code, "param": error.param}}


def print_error(error: FluxionsError, *, as_json: bool) -> None:
    """Print an error on stderr."""
    note(json.dumps(error_json(error), ensure_ascii=False) if as_json else f"fluxions: {one_line(error.message)}")


def print_usage_error(message: str, *, as_json: bool) -> None:
    """Print what is wrong with the command line on stderr."""
    error = {"message": message, "type": "usage_error", "code": "usage", "param": None}
    note(json.dumps({"error": error}, ensure_ascii=False) if as_json else f"fluxions: {one_line(message)}")


def one_line(text: str) -> str:
    """The text with all white space replaced by single spaces."""
    return " ".join(text.split())


def note(message: str) -> None:
    """A message for the person at the terminal, on stderr; never part of the result."""
    print(message, file=sys.stderr, flush=True)


def print_json(value: Any, *, compact: bool = False) -> None:
    """Print a result as JSON; ``compact``: on one line, so that several results are JSON Lines."""
    print(json.dumps(value, ensure_ascii=False, indent=None if compact else 2), flush=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table on stdout. If stdout is no terminal the table is 200 columns wide, so that nothing is cut off."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Names may contain brackets, which Rich would read as markup.
    table = Table(title=Text(title) if title else None, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
