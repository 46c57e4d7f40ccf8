"""`fluxions voices`: list built-in voices; list, clone and delete voices of an account."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import HomeOption, JsonOption, KeyOption, UrlOption, help_if_alone, locate
from cli.output import note, print_json, print_table

app = typer.Typer(callback=help_if_alone, invoke_without_command=True, help="List, clone and delete voices.")


@app.command("list")
def list_voices(url: UrlOption = None, key: KeyOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the built-in voices and, with a key, those of your account."""
    from clients.public import Client

    target = locate(url, key, home)
    with Client(target) as client:
        built_in = client.get("/vui/voices")["voices"]
        mine = client.get("/vui/v1/voices/mine")["voices"] if target.key else []
    if as_json:
        print_json({"voices": built_in, "mine": mine})
        return
    rows = [[voice["voice_id"], voice["language"], voice["preview_text"]] for voice in built_in]
    rows += [[voice["voice_id"], "", voice["name"]] for voice in mine]
    print_table("", ["voice", "language", "says or is called"], rows)


@app.command()
def clone(
    clip: Annotated[
        Path, typer.Argument(help="Recording of one person; a few clean seconds.", exists=True, dir_okay=False)
    ],
    name: Annotated[str | None, typer.Option("--name", help="Label [the file's name].", show_default=False)] = None,
    text: Annotated[str | None, typer.Option("--text", help="Transcript of the clip [recognised by the server].")] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Clone a voice from a clip; its id is printed alone on stdout.

    Example:

      fluxions say --voice $(fluxions voices clone me.wav) "This is my voice."
    """
    from clients.public import Client

    fields = {field: value for field, value in (("name", name), ("text", text)) if value is not None}
    with Client(locate(url, key, home)) as client:
        made = client.clone(clip, fields)
    if as_json:
        print_json(made)
        return
    note(f"{made['name']}: {made['seconds']:g} s of reference")
    print(made["voice_id"])


@app.command()
def delete(
    voice_id: Annotated[str, typer.Argument(metavar="VOICE", help="Id from `fluxions voices list`.")],
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a cloned voice and its clip."""
    from clients.public import Client

    with Client(locate(url, key, home)) as client:
        body = client.post("/vui/v1/voices/delete", {"voice_id": voice_id})
    if as_json:
        print_json(body)
    else:
        note(f"voice {voice_id} is deleted")
