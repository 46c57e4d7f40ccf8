"""`fluxions keys`: make, list and revoke API keys, with the operator's key."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from serve.cli.options import HomeOption, JsonOption, KeyOption, UrlOption, help_if_alone, locate
from serve.cli.output import note, print_json, print_table

app = typer.Typer(
    callback=help_if_alone,
    invoke_without_command=True,
    help="Make, list and revoke API keys (needs the operator's key, kept in HOME).",
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Label to tell the key apart by.")],
    account: Annotated[str, typer.Option("--account", help="Account the key acts for.")] = "default",
    scopes: Annotated[
        list[str] | None, typer.Option("--scope", help="`user` or `operator`; may be repeated [user].")
    ] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key. It is printed once, alone on stdout, and stored nowhere.

    Example:

      KEY=$(fluxions keys create laptop --account research)
    """
    from serve.cli.client import Client

    with Client(locate(url, key, home, operator=True)) as client:
        made = client.post("/operator/keys", {"account": account, "name": name, "scopes": scopes or ["user"]})
    if as_json:
        print_json(made)
        return
    note(f"key {made['id']} of account {made['account']}; it is shown this once:")
    print(made["key"])


@app.command("list")
def list_keys(url: UrlOption = None, key: KeyOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List keys: their labels and first characters, never the keys."""
    from serve.cli.client import Client

    with Client(locate(url, key, home, operator=True)) as client:
        body = client.get("/operator/keys")
    if as_json:
        print_json(body)
        return
    fields = ("id", "account", "name", "prefix", "scopes", "created_at", "revoked_at")
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
    from serve.cli.client import Client

    with Client(locate(url, key, home, operator=True)) as client:
        body = client.delete(f"/operator/keys/{quote(key_id, safe='')}")
    if as_json:
        print_json(body)
    else:
        note(f"key {key_id} is revoked")


def _cell(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list) else value
