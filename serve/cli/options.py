"""Options that several commands share, the settings they stand for, and how a command finds its server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from schemas.settings import Settings
    from serve.cli.client import Target

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and errors as JSON on stderr.")]
HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of all state [FLUXIONS_HOME, default ./.fluxions].", show_default=False),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", help="Server to ask [FLUXIONS_URL, default the one that runs in HOME].", show_default=False),
]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", help="API key [FLUXIONS_API_KEY, default the key kept in HOME].", show_default=False),
]


def help_if_alone(context: typer.Context) -> None:
    """Callback of a command that holds commands: alone it explains itself."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def load_settings(
    home: Path | None = None, host: str | None = None, port: int | None = None, profile: str | None = None
) -> Settings:
    """The settings of this process, with options of the command line first.

    Options become environment variables, so that child processes read the same. Raises typer.BadParameter
    that names the variable at fault.
    """
    from pydantic import ValidationError

    from schemas.settings import Settings

    options = {"HOME": home, "HOST": host, "PORT": port, "PROFILE": profile}
    os.environ.update({f"FLUXIONS_{name}": str(value) for name, value in options.items() if value is not None})
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(f"FLUXIONS_{'.'.join(str(p) for p in e['loc']).upper()}: {e['msg']}" for e in error.errors())
        raise typer.BadParameter(faults) from None


def locate(url: str | None, key: str | None, home: Path | None, *, operator: bool = False) -> Target:
    """The server and key a command means: options first, then the environment, then what runs in HOME.

    A key kept in HOME is sent to that home's own server only, never to another address.
    Raises ServerUnreachable when nothing runs and no address is given.
    """
    from schemas.errors import ServerUnreachable
    from serve.cli.client import Target
    from serve.up import instance

    folder = load_settings(home).home
    running = instance(folder)
    chosen = (url or os.environ.get("FLUXIONS_URL") or (running.url if running else "")).rstrip("/")
    if not chosen:
        raise ServerUnreachable(f"no server runs in {folder}; start one with `fluxions up`, or name one with --url")
    if not chosen.startswith(("http://", "https://")):
        raise typer.BadParameter(f"{chosen!r} is not an http:// or https:// address", param_hint="--url")
    own = _read(folder / "keys" / ("operator" if operator else "default")) if running and running.url == chosen else ""
    given = os.environ.get("FLUXIONS_API_KEY", "")
    return Target(chosen, key or (own or given if operator else given or own))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
