"""`fluxions keys`: make, list and revoke API keys, with the operator's key."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TextIO
from urllib.parse import quote

import typer

from cli.options import HomeOption, JsonOption, KeyOption, UrlOption, help_if_alone, load_settings, locate
from cli.output import note, print_json, print_table
from schemas.errors import InvalidParameter

app = typer.Typer(
    callback=help_if_alone,
    invoke_without_command=True,
    help="Make, list and revoke API keys (needs the operator's key, stored in HOME).",
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Label of the key.")],
    account: Annotated[str, typer.Option("--account", help="Account the key acts for.")] = "default",
    scopes: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            help="What the key allows: `transcribe`, `speak`, `history`, `realtime`, all four as `user`, "
            "`operator` for workers, `admin` for keys; may be repeated [user].",
        ),
    ] = None,
    expires: Annotated[float | None, typer.Option("--expires", help="Time after which the key expires, s.")] = None,
    profile: Annotated[
        Path | None,
        typer.Option(
            "--profile", help="New file for clients of Delta Sharing, with URL and key; then the scope is `history`."
        ),
    ] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a key. It is printed once, alone on stdout; only its hash is stored.

    Examples:

      KEY=$(fluxions keys create laptop --account research)

      fluxions keys create analyst --account research --profile research.share
    """
    from clients.public import Client

    where = locate(url, key, home, admin=True)
    with new_file(profile) as file, Client(where) as client:
        wanted = {"account": account, "name": name, "scopes": scopes or ["history" if profile else "user"]}
        made = client.post("/operator/keys", wanted | ({"expires_in_secs": expires} if expires is not None else {}))
        if file is not None:
            public = url or load_settings(home).server.public_url or where.url
            json.dump(share_profile(public, made), file, indent=2)
    if profile is not None:
        note(f"key {made['id']} of account {made['account']} is in {profile}")
        made = {name: value for name, value in made.items() if name != "key"}
        if not as_json:
            return
    if as_json:
        print_json(made)
        return
    note(f"key {made['id']} of account {made['account']}; it is shown only once:")
    print(made["key"])


@app.command()
def rotate(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, from `fluxions keys list`.")],
    grace_secs: Annotated[float, typer.Option("--grace", help="Time for which the old key still works, s.")] = 86_400.0,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key with the rights of an existing one.

    The old key expires later, so its users have time to change. The new key is printed once, alone on stdout.
    """
    from clients.public import Client

    with Client(locate(url, key, home, admin=True)) as client:
        made = client.post(f"/operator/keys/{quote(key_id, safe='')}/rotate", {"grace_secs": grace_secs})
    if as_json:
        print_json(made)
        return
    note(f"key {made['id']} replaces {key_id}, which expires in {grace_secs:g} s; it is shown only once:")
    print(made["key"])


@app.command("list")
def list_keys(url: UrlOption = None, key: KeyOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List keys: their labels and first characters, never the keys."""
    from clients.public import Client

    with Client(locate(url, key, home, admin=True)) as client:
        body = client.get("/operator/keys")
    if as_json:
        print_json(body)
        return
    fields = (
        *("id", "account", "name", "prefix", "ending", "scopes"),
        *("created_at", "last_used_at", "expires_at", "revoked_at"),
    )
    rows = [[_cell(row.get(field)) for field in fields] for row in body["keys"]]
    print_table("", [f.replace("_", " ") for f in fields], rows)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, from `fluxions keys list`.")],
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key; gateways refuse it within FLUXIONS_KEY_CACHE_SECS."""
    from clients.public import Client

    with Client(locate(url, key, home, admin=True)) as client:
        body = client.delete(f"/operator/keys/{quote(key_id, safe='')}")
    if as_json:
        print_json(body)
    else:
        note(f"key {key_id} is revoked")


@contextlib.contextmanager
def new_file(path: Path | None) -> Iterator[TextIO | None]:
    """A new file that only this user can read, and that is removed after an error; None without ``path``.

    Raises InvalidParameter if there is a file already, or if it cannot be made.
    """
    if path is None:
        yield None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InvalidParameter(f"{path} cannot be made: {error.strerror}", param="profile") from error
    try:
        with os.fdopen(descriptor, "w") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def share_profile(url: str, made: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a profile file of Delta Sharing, version 1, for the server at ``url`` and a key just ``made``."""
    found = {"shareCredentialsVersion": 1, "endpoint": f"{url.rstrip('/')}/delta-sharing/", "bearerToken": made["key"]}
    return found | ({"expirationTime": made["expires_at"]} if made.get("expires_at") else {})


def _cell(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list) else value
