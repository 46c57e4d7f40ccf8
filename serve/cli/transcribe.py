"""`fluxions transcribe`: recordings in, transcripts out, on the terminal or as files."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.errors import FluxionsError, InvalidParameter
from schemas.speakers import MOST_SPEAKERS, speaker_hint
from serve.cli.options import HomeOption, JsonOption, KeyOption, UrlOption, locate
from serve.cli.output import FAILED, INTERRUPTED, error_json, exit_code, note, one_line, print_error, print_json

if TYPE_CHECKING:
    from serve.cli.batch import Done
    from serve.cli.sources import Source

_SPEAKER_COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")

_Speakers = Annotated[
    int | None, typer.Option("--num-speakers", min=1, max=MOST_SPEAKERS, help="So many people speak.", show_default=False)
]
_LeastSpeakers = Annotated[
    int | None, typer.Option("--min-speakers", min=1, max=MOST_SPEAKERS, help="At least so many.", show_default=False)
]
_MostSpeakers = Annotated[
    int | None, typer.Option("--max-speakers", min=1, max=MOST_SPEAKERS, help="At most so many.", show_default=False)
]


class Format(StrEnum):
    TXT = "txt"
    SRT = "srt"
    VTT = "vtt"
    JSON = "json"


def transcribe(
    recordings: Annotated[
        list[str], typer.Argument(metavar="FILE|DIR|URL...", help="What to transcribe.", show_default=False)
    ],
    output: Annotated[
        Format | None,
        typer.Option("--output", "-o", help="Write a file of this kind beside each recording.", show_default=False),
    ] = None,
    output_dir: Annotated[
        str | None,
        typer.Option(
            "--output-dir", "-d", help="Write files here instead; `-` writes one recording's to stdout.", show_default=False
        ),
    ] = None,
    words: Annotated[bool, typer.Option("--words", help="Ask for the time of every word.")] = False,
    non_speech: Annotated[
        bool, typer.Option("--non-speech", help="Include pauses, hesitations, other sounds and marks.")
    ] = False,
    num_speakers: _Speakers = None,
    min_speakers: _LeastSpeakers = None,
    max_speakers: _MostSpeakers = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Compute again what was computed before.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=256, help="Recordings on their way at once.")] = 4,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Transcribe recordings: who said what, and when.

    Examples:

      fluxions transcribe interview.mp3

      fluxions transcribe talks/ -o srt -d subtitles/ --jobs 8

      fluxions transcribe https://example.org/talk.mp3 -o vtt -d - > talk.vtt

      fluxions transcribe call.wav --num-speakers 2 --json --words | jq .segments

    Folders are searched for recordings. One that fails does not stop the others; failures are listed at the end and
    make the exit code 1. With --json each recording is one line of JSON, in the order given.
    """
    from serve.cli.batch import Batch, Wishes
    from serve.cli.client import Client
    from serve.cli.sources import find

    try:
        speakers = speaker_hint(num_speakers, min_speakers, max_speakers)
    except InvalidParameter as error:
        option = f"--{error.param}".replace("_", "-")
        raise typer.BadParameter(error.message, param_hint=option) from None
    sources = find(recordings)
    if as_json and output is not None and output_dir == "-":
        raise typer.BadParameter("stdout holds either JSON lines or one file; leave --json or `-` out", param_hint="--json")
    targets = _targets(sources, output, output_dir)
    target = locate(url, key, home)
    with Client(target) as client:
        client.get("/transcriptions", limit=1)  # An absent server or a wrong key is one error, not one for each file.
    needs_words = words or output in (Format.SRT, Format.VTT)
    failures: list[tuple[Source, FluxionsError]] = []
    batch = Batch(target, Wishes(non_speech, not no_cache, needs_words, speakers), jobs)
    try:
        with batch:
            for source, result in batch.results(sources):
                try:
                    with batch.board.paused():
                        _deliver(source, result, targets.get(source), output, as_json=as_json, titled=len(sources) > 1)
                except FluxionsError as error:
                    failures.append((source, error))
    except KeyboardInterrupt:
        if batch.unfinished:
            note(f"stopped; the server goes on with {', '.join(map(str, sorted(batch.unfinished)))}")
        raise typer.Exit(INTERRUPTED) from None
    _report(failures, len(sources), as_json=as_json)


def _report(failures: list[tuple[Source, FluxionsError]], total: int, *, as_json: bool) -> None:
    if not failures:
        return
    if total == 1:
        error = failures[0][1]
        print_error(error, as_json=as_json)
        raise typer.Exit(exit_code(error))
    note(f"fluxions: {len(failures)} of {total} recordings failed:")
    for source, error in failures:
        note(f"  {source.label}: {one_line(error.message)}")
    raise typer.Exit(FAILED)


def _deliver(
    source: Source, result: Done | FluxionsError, file: Path | None, output: Format | None, *, as_json: bool, titled: bool
) -> None:
    """Prints or writes one result. Raises its error, or FluxionsError when the file cannot be written."""
    if isinstance(result, FluxionsError):
        if as_json:
            print_json({"source": source.label, **error_json(result)}, compact=True)
        raise result
    if output is not None:
        content = render(result, output)
        if file is None:
            sys.stdout.write(content)
        else:
            _write(file, content)
            note(f"{source.label} -> {file}")
    if as_json:
        line = {"source": source.label, **({"file": str(file)} if file else {}), **result.raw}
        print_json(line, compact=True)
    elif output is None:
        _show(source.label if titled else "", result.body.text or "")


def render(done: Done, output: Format) -> str:
    """A result as the content of a file."""
    from serve.cli import subtitles

    segments = done.body.segments
    match output:
        case Format.SRT:
            return subtitles.srt(segments)
        case Format.VTT:
            return subtitles.vtt(segments)
        case Format.JSON:
            return json.dumps(done.raw, ensure_ascii=False, indent=2) + "\n"
        case Format.TXT:
            return f"{done.body.text or ''}\n"


def _targets(sources: list[Source], output: Format | None, output_dir: str | None) -> dict[Source, Path]:
    """Where each recording's file goes; none for stdout. Two recordings never share a file."""
    from serve.cli.sources import FileSource

    if output is None:
        if output_dir is not None:
            raise typer.BadParameter(
                "say which kind of file to write: --output txt|srt|vtt|json", param_hint="--output-dir"
            )
        return {}
    if output_dir == "-":
        if len(sources) > 1:
            raise typer.BadParameter("stdout holds one recording's file; give a folder", param_hint="--output-dir")
        return {}
    targets: dict[Source, Path] = {}
    for source in dict.fromkeys(sources):
        folder = Path(output_dir) / source.relative.parent if output_dir else Path()
        if not output_dir and isinstance(source, FileSource):
            folder = source.path.parent
        name = source.relative.name
        file = folder / f"{Path(name).stem}.{output}"
        # `talk.wav` beside `talk.mp3`, or a recording already named like its transcript: keep the whole name.
        if file in targets.values() or file.name == name:
            file = folder / f"{name}.{output}"
        if file in targets.values():
            raise typer.BadParameter(f"two recordings would be written to {file}", param_hint="--output-dir")
        targets[source] = file
    return targets


def _write(file: Path, content: str) -> None:
    """Whole or not at all: a reader never sees half a transcript."""
    part = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(content, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise FluxionsError(f"cannot write {file}: {error.strerror}", code="unwritable_file") from error


def _show(title: str, text: str) -> None:
    """The transcript on stdout; speakers in colour where that is a terminal, plain text elsewhere."""
    if not sys.stdout.isatty():
        print(f"==> {title} <==\n{text}\n" if title else text, flush=True)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    if title:
        console.print(Text(title, style="bold underline"))
    for line in text.splitlines():
        console.print(coloured(line))


def coloured(line: str) -> Any:
    """A line of the transcript with its ``SPEAKER_n:`` in that speaker's colour."""
    from rich.text import Text

    speaker, colon, rest = line.partition(":")
    number = speaker.removeprefix("SPEAKER_")
    if not colon or not number.isdecimal() or number == speaker:
        return Text(line)
    return Text.assemble((speaker + colon, f"bold {_SPEAKER_COLOURS[int(number) % len(_SPEAKER_COLOURS)]}"), rest)
