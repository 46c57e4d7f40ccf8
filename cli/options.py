"""Options that several commands share, the settings they set, and how a command finds its server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from clients.public import Target
    from schemas.domain import RecognizeOptions
    from schemas.settings import Settings

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and errors as JSON on stderr.")]
HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of all state [FLUXIONS_HOME, default ./.fluxions].", show_default=False),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", help="Server to ask [FLUXIONS_URL, default: the server that runs in HOME].", show_default=False),
]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", help="API key [FLUXIONS_API_KEY, default: the key stored in HOME].", show_default=False),
]
LanguageOption = Annotated[
    str | None,
    typer.Option("--language", help="Code of the spoken language, such as `en` [detected].", show_default=False),
]
PromptOption = Annotated[
    str, typer.Option("--prompt", help="Text that shows how names and style are written.", show_default=False)
]
KeytermOption = Annotated[
    list[str] | None,
    typer.Option("--keyterm", help="A name or term that is likely said; may be repeated.", show_default=False),
]
TranslateOption = Annotated[bool, typer.Option("--translate", help="Translate into English.")]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Fail a recording that is truncated or damaged, instead of adding a warning.")
]
AudioTrackOption = Annotated[
    int | None,
    typer.Option("--audio-track", min=0, max=1000, help="Audio track to transcribe, from 0.", show_default=False),
]


def recognize_options(
    language: str | None, prompt: str, keyterms: Sequence[str] | None, *, translate: bool
) -> RecognizeOptions:
    """Options for the recogniser. Raises typer.BadParameter for a value that no server accepts."""
    from pydantic import ValidationError

    from schemas.api.options import RecognizeBody

    task = "translate" if translate else "transcribe"
    try:
        body = RecognizeBody.model_validate(
            {"language": language, "prompt": prompt, "keyterms": list(keyterms or ()), "task": task}
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        option = {"keyterms": "--keyterm"}.get(str(first["loc"][0]), f"--{first['loc'][0]}")
        raise typer.BadParameter(first["msg"], param_hint=option) from None
    return body.value()


def help_if_alone(context: typer.Context) -> None:
    """Callback of a command with subcommands: without one it prints its help."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def load_settings(
    home: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    profile: str | None = None,
    address: str | None = None,
    secret_file: Path | None = None,
) -> Settings:
    """The settings of this process, with options of the command line first.

    Options become environment variables, so that child processes read the same. Raises typer.BadParameter
    that names the variable at fault.
    """
    from pydantic import ValidationError

    from schemas.settings import Settings

    options = {"HOME": home, "HOST": host, "PORT": port, "PROFILE": profile}
    options |= {"NODE_ADDRESS": address, "CLUSTER_SECRET_FILE": secret_file}
    os.environ.update({f"FLUXIONS_{name}": str(value) for name, value in options.items() if value is not None})
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(f"FLUXIONS_{'.'.join(str(p) for p in e['loc']).upper()}: {e['msg']}" for e in error.errors())
        raise typer.BadParameter(faults) from None


def locate(
    url: str | None,
    key: str | None,
    home: Path | None,
    *,
    operator: bool = False,
    admin: bool = False,
    worker: bool = False,
) -> Target:
    """The server and key that a command uses: from options, else from the environment, else of the server that runs in
    HOME.

    A key stored in HOME is sent to that home's own server only, never to another address. ``operator`` and ``admin`` name
    what it must allow; ``worker`` is for commands that pass the key on to other processes.
    Raises ServerUnreachable when nothing runs and no address is given.
    """
    from clients.public import Target
    from schemas.errors import ServerUnreachable
    from serve.supervisor.supervisor import instance

    folder = load_settings(home).home
    running = instance(folder)
    chosen = (url or os.environ.get("FLUXIONS_URL") or (running.url if running else "")).rstrip("/")
    if not chosen:
        raise ServerUnreachable(f"no server runs in {folder}; start one with `fluxions up`, or name one with --url")
    if not chosen.startswith(("http://", "https://")):
        raise typer.BadParameter(f"{chosen!r} is not an http:// or https:// address", param_hint="--url")
    own = ""
    if running and running.url == chosen:
        # A home that an earlier version made has no admin key. There the operator's key has this scope. A machine that
        # joined a cluster has only the workers' key.
        operators = ("node", "operator") if worker else ("operator", "node")
        names = ("admin", "operator") if admin else operators if operator or worker else ("default",)
        own = next(filter(None, (_read(folder / "keys" / name) for name in names)), "")
    given = os.environ.get("FLUXIONS_API_KEY", "")
    return Target(chosen, key or (own or given if operator or admin or worker else given or own))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
