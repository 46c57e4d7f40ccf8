"""`fluxions accounts`: deletes an account and everything that belongs to it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from cli.options import HomeOption, JsonOption, KeyOption, UrlOption, help_if_alone, locate
from cli.output import note, print_json

app = typer.Typer(
    callback=help_if_alone,
    invoke_without_command=True,
    help="Delete accounts (needs the admin key, stored in HOME).",
)


@app.command()
def delete(
    account: Annotated[str, typer.Argument(help="Name of the account.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete an account for good: transcriptions, renders, conversations, voices, webhooks, archives and keys.

    For two hours nothing can be written for the account. The next vacuum removes its rows from older versions of the
    tables.
    """
    from clients.public import Client

    target = locate(url, key, home, admin=True)
    if not yes:
        typer.confirm(f"Delete the account {account} and everything that belongs to it?", abort=True, err=True)
    with Client(target) as client:
        body = client.delete(f"/operator/accounts/{quote(account, safe='')}")
    if as_json:
        print_json(body)
    else:
        note(f"the account {account} is deleted; `fluxions maintain vacuum` removes it from older table versions")
