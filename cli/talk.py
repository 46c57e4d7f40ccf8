"""`fluxions talk`: a voice conversation with the server, with microphone and loudspeaker or from file to file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cli.options import HomeOption, KeyOption, UrlOption, load_settings, locate


def talk(
    source: Annotated[
        Path | None,
        typer.Option("--input", help="Recording to send instead of a microphone's audio.", exists=True, dir_okay=False),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option("--output", help="WAV file to write: the user on the left channel, the answers on the right."),
    ] = None,
    instructions: Annotated[str | None, typer.Option(help="Instructions for the model.", show_default=False)] = None,
    voice: Annotated[str | None, typer.Option("--voice", "-v", help="Id or name of a voice.", show_default=False)] = None,
    model: Annotated[str, typer.Option(help="Model to ask for; a server of Fluxions takes any name.")] = "fluxions",
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
) -> None:
    """Talk with the server; transcripts of both sides are written to stdout.

    Without --input it needs a microphone and the extra `talk`: pip install 'fluxions[talk]'.

    Examples:

      fluxions talk

      fluxions talk --input question.wav --output conversation.wav
    """
    from cli.talk_session import Captions, settings_of, talk_from_file, talk_with_microphone

    if (source is None) != (target is None):
        raise typer.BadParameter("--input and --output belong together", param_hint="--input" if target else "--output")
    server, session = locate(url, key, home), settings_of(instructions, voice)
    if source is not None and target is not None:
        limits = load_settings(home).limits
        asyncio.run(talk_from_file(server, model, session, source, target, limits, Captions()))
    else:
        asyncio.run(talk_with_microphone(server, model, session, Captions()))
