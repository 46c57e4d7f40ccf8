"""`fluxions say`: renders a text as speech, into a file, to a loudspeaker or to stdout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from cli.options import HomeOption, JsonOption, KeyOption, UrlOption, locate
from cli.output import note, print_json

_FORMATS = ("wav", "mp3", "opus", "flac", "pcm")
_RATE = "24000"
_PLAYERS = (
    ("ffplay", "-loglevel", "error", "-nodisp", "-autoexit", "-f", "s16le", "-ar", _RATE, "-i", "-"),
    ("paplay", "--raw", "--format=s16le", f"--rate={_RATE}", "--channels=1"),
    ("pw-cat", "--playback", "--format=s16", f"--rate={_RATE}", "--channels=1", "-"),
    ("aplay", "-q", "-t", "raw", "-f", "S16_LE", "-r", _RATE, "-c", "1"),
    ("play", "-q", "-t", "raw", "-e", "signed", "-b", "16", "-r", _RATE, "-c", "1", "-"),
)
"""Programs that play s16le at 24 kHz mono from their standard input."""


def say(
    text: Annotated[str, typer.Argument(help="The text; `-` reads it from stdin. Cues: [sigh] [laugh] [gasp] …")],
    voice: Annotated[str, typer.Option("--voice", "-v", help="Id or name from `fluxions voices list`.")] = "maeve",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write: .wav, .mp3, .opus, .flac or .pcm; `-` is stdout.")
    ] = None,
    play: Annotated[
        bool, typer.Option("--play", help="Play the audio while it is rendered; the default without -o.")
    ] = False,
    verify: Annotated[bool, typer.Option(help="Verify each passage with the recogniser before it is sent.")] = True,
    speed: Annotated[float, typer.Option(min=0.5, max=2.0, help="Speed; 1 is the voice's own.")] = 1.0,
    max_secs: Annotated[float | None, typer.Option(min=0, help="Longest audio, s.", show_default=False)] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Render a text as speech.

    Examples:

      fluxions say "Good morning." --play

      fluxions say --voice harry -o hello.mp3 "[gasp] You came!"

      fluxions say --voice siwis --speed 0.9 "Bonjour tout le monde."
    """
    from clients.public import Client

    if play and output is not None:
        raise typer.BadParameter("choose one of --play and -o", param_hint="--play")
    said = sys.stdin.read() if text == "-" else text
    ask = {"voice": voice, "input": said, "speed": speed, "verify_chunks": verify, "max_secs": max_secs}
    with Client(locate(url, key, home)) as client:
        if output is None:
            _play(client.speak({**ask, "response_format": "pcm", "stream": True}))
            return
        size_bytes = _write(client.speak({**ask, "response_format": _format(output)}), output)
    if as_json and str(output) != "-":
        print_json({"file": str(output), "size_bytes": size_bytes, "voice": voice})


def _format(output: Path) -> str:
    """The format for the file's suffix; WAV for stdout. Raises typer.BadParameter."""
    ending = output.suffix.removeprefix(".").lower() or ("wav" if str(output) == "-" else "")
    ending = {"ogg": "opus"}.get(ending, ending)
    if ending not in _FORMATS:
        raise typer.BadParameter(f"{output} must end in one of: .{', .'.join(_FORMATS)}", param_hint="-o")
    return ending


def _write(sound: Iterator[bytes], output: Path) -> int:
    """Write the sound; returns the number of bytes. A file appears only when it is complete."""
    if str(output) == "-":
        return sum(sys.stdout.buffer.write(piece) for piece in sound)
    partial = output.with_name(f".{output.name}.part")
    size = 0
    try:
        with partial.open("wb") as file:
            for piece in sound:
                size += file.write(piece)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    note(f"{output}  {size} bytes")
    return size


def _play(sound: Iterator[bytes]) -> None:
    """Play the sound. Raises FluxionsError if no player is installed or it ends early."""
    from schemas.errors import FluxionsError

    command = next((player for player in _PLAYERS if shutil.which(player[0])), None)
    if command is None:
        names = ", ".join(player[0] for player in _PLAYERS)
        raise FluxionsError(f"no player was found ({names}); install one, or write a file with -o", code="no_player")
    first = next(sound, b"")  # an error of the server is raised before a player starts
    with subprocess.Popen(command, stdin=subprocess.PIPE) as player:
        assert player.stdin is not None  # noqa: S101 - a pipe by construction
        try:
            player.stdin.write(first)
            for piece in sound:
                player.stdin.write(piece)
            player.stdin.close()
        except BrokenPipeError:
            raise FluxionsError(f"{command[0]} stopped playing", code="player_failed") from None
        if player.wait():
            raise FluxionsError(f"{command[0]} ended with status {player.returncode}", code="player_failed")
