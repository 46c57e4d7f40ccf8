"""`fluxions import`: imports history of another system, one JSON object a line, into the running server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from cli.options import HomeOption, JsonOption, KeyOption, UrlOption, locate
from cli.output import FAILED, note, print_json

BATCH_LINES = 1000
BATCH_BYTES = 8 * 1024 * 1024


class ImportKind(StrEnum):
    """Kinds of history that can be imported."""

    CONVERSATIONS = "conversations"
    TRANSCRIPTIONS = "transcriptions"
    TTS = "tts"


def import_history(
    kind: Annotated[ImportKind, typer.Argument(help="What the lines are.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON Lines in the API's own shapes; - for stdin.")],
    account: Annotated[str, typer.Option("--account", help="Account that gets the rows.")],
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import history of another system (needs the operator's key, stored in HOME).

    A line has the form of the answer of `/history/<kind>/{id}`. Invalid lines are reported by number, and the others are
    imported. Importing a file again changes nothing. The exit code is 1 if a line was invalid.

    Example:

      fluxions import conversations calls.jsonl --account research
    """
    from clients.public import Client

    if str(file) != "-" and not file.is_file():
        raise typer.BadParameter(f"there is no file {file}", param_hint="FILE")
    total: dict[str, Any] = {"imported": 0, "unchanged": 0, "failed": 0, "errors": []}
    with (
        Client(locate(url, key, home, operator=True), patience_secs=30.0) as client,
        nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb") as lines,
    ):
        for first_line, body in _batches(lines):
            report = client.post_lines(f"/operator/import/{kind}", body, account=account, first_line=first_line)
            for name in total:
                total[name] += report[name]
            if not as_json:
                for error in report["errors"]:
                    note(f"line {error['line']}: {error['message']}")
    if as_json:
        print_json(total)
    else:
        print(f"{total['imported']} imported, {total['unchanged']} there already, {total['failed']} bad")
    if total["failed"]:
        raise typer.Exit(FAILED)


def _batches(lines: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(number of the first line, whole lines) in portions of some MiB."""
    first, batch, size = 1, list[bytes](), 0
    for number, line in enumerate(lines, 1):
        batch.append(line)
        size += len(line)
        if len(batch) >= BATCH_LINES or size >= BATCH_BYTES:
            yield first, b"".join(batch)
            first, batch, size = number + 1, [], 0
    if batch:
        yield first, b"".join(batch)
