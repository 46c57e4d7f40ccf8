"""`fluxions import`: history from elsewhere, one JSON object a line, into the running server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from serve.cli.options import HomeOption, JsonOption, KeyOption, UrlOption, locate
from serve.cli.output import FAILED, note, print_json

BATCH_LINES = 1000
BATCH_BYTES = 8 * 1024 * 1024


class ImportKind(StrEnum):
    CONVERSATIONS = "conversations"
    TRANSCRIPTIONS = "transcriptions"
    TTS = "tts"


def import_history(
    kind: Annotated[ImportKind, typer.Argument(help="What the lines are.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON Lines in the API's own shapes; - for stdin.")],
    account: Annotated[str, typer.Option("--account", help="Account it shall belong to.")],
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring in history from elsewhere (needs the operator's key, kept in HOME).

    A line is what `/history/<kind>/{id}` answers. Bad lines are reported by number, the rest is imported; importing a
    file twice changes nothing. Exit code 1 if a line was bad.

    Example:

      fluxions import conversations calls.jsonl --account research
    """
    from serve.cli.client import Client

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
    """(number of its first line, whole lines) of some MiB each."""
    first, batch, size = 1, list[bytes](), 0
    for number, line in enumerate(lines, 1):
        batch.append(line)
        size += len(line)
        if len(batch) >= BATCH_LINES or size >= BATCH_BYTES:
            yield first, b"".join(batch)
            first, batch, size = number + 1, [], 0
    if batch:
        yield first, b"".join(batch)
