"""`fluxions transcribe`: recordings in, transcripts out, on the terminal or as files."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import (
    AudioTrackOption,
    HomeOption,
    JsonOption,
    KeyOption,
    KeytermOption,
    LanguageOption,
    PromptOption,
    StrictOption,
    TranslateOption,
    UrlOption,
    locate,
    recognize_options,
)
from cli.output import FAILED, INTERRUPTED, error_json, exit_code, note, one_line, print_error, print_json
from cli.transcribe_formats import Format, SpeakerNames
from runtime.file_names import readable
from schemas.errors import FluxionsError, InvalidParameter
from schemas.speaker_hints import MOST_SPEAKERS, speaker_hint

if TYPE_CHECKING:
    from cli.transcribe_batch import TranscribeResult
    from cli.transcribe_files import TranscriptFiles
    from cli.transcribe_inputs import Source

_SPEAKER_COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")

_SUBTITLES = "Subtitles"

_Speakers = Annotated[
    int | None, typer.Option("--num-speakers", min=1, max=MOST_SPEAKERS, help="Number of speakers.", show_default=False)
]
_LeastSpeakers = Annotated[
    int | None,
    typer.Option("--min-speakers", min=1, max=MOST_SPEAKERS, help="Smallest number of speakers.", show_default=False),
]
_MostSpeakers = Annotated[
    int | None,
    typer.Option("--max-speakers", min=1, max=MOST_SPEAKERS, help="Largest number of speakers.", show_default=False),
]


_LineChars = Annotated[
    int, typer.Option("--line-chars", min=10, max=500, help="Longest line of subtitles.", rich_help_panel=_SUBTITLES)
]
_Lines = Annotated[
    int, typer.Option("--lines", min=1, max=10, help="Most lines shown at once.", rich_help_panel=_SUBTITLES)
]
_CueSecs = Annotated[
    float, typer.Option("--cue-secs", min=0.5, max=60, help="Longest time a cue is shown, s.", rich_help_panel=_SUBTITLES)
]
_CharsPerSec = Annotated[
    float | None,
    typer.Option(
        "--chars-per-sec",
        min=1,
        max=100,
        help="Reading speed: cues are shown longer where there is time.",
        show_default=False,
        rich_help_panel=_SUBTITLES,
    ),
]
_NameSpeakers = Annotated[
    SpeakerNames, typer.Option("--name-speakers", help="Whether cues name who speaks.", rich_help_panel=_SUBTITLES)
]


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
            "--output-dir",
            "-d",
            help="Write files into this folder; `-` writes one recording's file to stdout.",
            show_default=False,
        ),
    ] = None,
    words: Annotated[bool, typer.Option("--words", help="Ask for the time of every word.")] = False,
    non_speech: Annotated[
        bool, typer.Option("--non-speech", help="Include pauses, hesitations, other sounds and marks.")
    ] = False,
    num_speakers: _Speakers = None,
    min_speakers: _LeastSpeakers = None,
    max_speakers: _MostSpeakers = None,
    language: LanguageOption = None,
    prompt: PromptOption = "",
    keyterm: KeytermOption = None,
    translate: TranslateOption = False,
    strict: StrictOption = False,
    audio_track: AudioTrackOption = None,
    redact: Annotated[
        bool,
        typer.Option(
            "--redact", help="Remove personal data from transcript and playback copy; the server erases the original."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    line_chars: _LineChars = 42,
    lines: _Lines = 2,
    cue_secs: _CueSecs = 6.0,
    chars_per_sec: _CharsPerSec = None,
    name_speakers: _NameSpeakers = SpeakerNames.AUTO,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Transcribe again, without cached results.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=256, help="Recordings processed concurrently.")] = 4,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Transcribe recordings: words, speakers and times.

    Examples:

      fluxions transcribe interview.mp3

      fluxions transcribe talks/ -o srt -d subtitles/ --jobs 8

      fluxions transcribe https://example.org/talk.mp3 -o vtt -d - > talk.vtt

      fluxions transcribe call.wav --num-speakers 2 --json --words | jq .segments

      fluxions transcribe entrevista.mp3 --language es --keyterm "Marta Ruiz" --translate

    Folders are searched for recordings. A recording that fails does not stop the others. Failures are listed at the end,
    and the exit code is then 1. Existing files are overwritten only with --force. With --json each recording is one line
    of JSON, in the order given.
    """
    from cli.transcribe_batch import TranscribeBatch, TranscribeOptions
    from cli.transcribe_files import TranscriptFiles
    from cli.transcribe_inputs import find
    from clients.public import Client
    from formats.subtitles import SubtitleStyle

    try:
        speakers = speaker_hint(num_speakers, min_speakers, max_speakers)
    except InvalidParameter as error:
        option = f"--{error.param}".replace("_", "-")
        raise typer.BadParameter(error.message, param_hint=option) from None
    recognize = recognize_options(language, prompt, keyterm, translate=translate)
    sources = find(recordings)
    if as_json and output is not None and output_dir == "-":
        raise typer.BadParameter("stdout holds either JSON lines or one file; leave --json or `-` out", param_hint="--json")
    style = SubtitleStyle(line_chars, lines, cue_secs, chars_per_sec, name_speakers.value)
    files = TranscriptFiles(sources, output, output_dir, style, force=force)
    target = locate(url, key, home)
    with Client(target) as client:
        client.get("/transcriptions", limit=1)  # An absent server or a wrong key is reported once, not for each file.
    needs_words = words or output in (Format.SRT, Format.VTT, Format.CTM)
    failures: list[tuple[Source, FluxionsError]] = []
    options = TranscribeOptions(non_speech, not no_cache, needs_words, speakers, recognize, strict, audio_track, redact)
    batch = TranscribeBatch(target, options, jobs)
    try:
        with batch:
            for source, result in batch.results(sources):
                try:
                    with batch.display.paused():
                        _deliver(source, result, files, as_json=as_json, titled=len(sources) > 1)
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
    source: Source,
    result: TranscribeResult | FluxionsError,
    files: TranscriptFiles,
    *,
    as_json: bool,
    titled: bool,
) -> None:
    """Print or write one result.

    Raises the error of a failed recording, or FluxionsError if the file cannot be written.
    """
    if isinstance(result, FluxionsError):
        if as_json:
            print_json({"source": source.label, **error_json(result)}, compact=True)
        raise result
    for warning in result.body.warnings:
        note(f"{source.label}: {one_line(warning.message)}")
    file = files.write(source, result)
    if file is not None:
        note(f"{source.label} -> {readable(str(file))}")
    if as_json:
        line = {"source": source.label, **({"file": readable(str(file))} if file else {}), **result.raw}
        print_json(line, compact=True)
    elif files.output is None:
        _show(source.label if titled else "", result.body.text or "")


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
