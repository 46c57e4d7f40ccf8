"""`fluxions models`: which models the slots are given, fetching them, and trying them out. Works without a server."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from serve.cli.options import HomeOption, JsonOption, help_if_alone, load_settings
from serve.cli.output import FAILED, note, print_json, print_table

app = typer.Typer(callback=help_if_alone, invoke_without_command=True, help="List, fetch and try out models.")

_MIB = 1024 * 1024


@app.command("list")
def list_models(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show every slot's engine and model, where it lies, and why it could not be used. Nothing is loaded."""
    from schemas.errors import Unavailable
    from serve.engines import SLOTS, choice, describe_slot
    from serve.model_store import size_bytes
    from serve.models import locate

    settings = load_settings(home)
    rows = []
    for slot in SLOTS:
        chosen = choice(settings, slot)
        row: dict[str, Any] = {"slot": slot, "engine": chosen.engine, "model": chosen.model, "path": "", "size_bytes": None}
        try:
            info = describe_slot(settings, slot)
            if chosen.model:
                path = locate(chosen)
                row |= {"path": str(path), "size_bytes": size_bytes(path)}
            row |= {"model": info.model, "revision": info.revision, "problem": None}
        except Unavailable as error:
            row |= {"revision": None, "problem": error.message}
        rows.append(row)
    if as_json:
        print_json({"models": rows})
    else:
        shown = [[r["slot"], r["engine"], r["model"], r["revision"] or r["problem"], r["path"]] for r in rows]
        print_table("", ["slot", "engine", "model", "revision, or why not", "path"], shown)
    if any(row["problem"] for row in rows):
        raise typer.Exit(FAILED)


@app.command()
def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="owner/name, or owner/name@revision [the models of the slots]."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch models from the hub into its cache on this machine, where every server finds them.

    One that fails does not stop the others, and makes the exit code 1.

    Example:

      fluxions models pull nvidia/parakeet-tdt-0.6b-v3
    """
    from schemas.errors import Unavailable
    from serve.engines import SLOTS, choice
    from serve.model_store import pull as fetch
    from serve.models import is_hub_name

    settings = load_settings(home)
    chosen = names or [m for slot in SLOTS if is_hub_name(m := choice(settings, slot).model)]
    if not chosen:
        note("the engines of these settings bring their own models: nothing to fetch")
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(chosen):
        note(f"fetching {name} …")
        try:
            one = fetch(name)
        except Unavailable as error:
            note(error.message)
            rows.append({"model": name, "problem": error.message})
            continue
        rows.append({"model": name, "path": str(one.path), "size_bytes": one.size_bytes, "problem": None})
        if not as_json:
            print(f"{name}  {one.size_bytes / _MIB:.0f} MiB  {one.path}")
    if as_json:
        print_json({"models": rows})
    if any(row["problem"] for row in rows):
        raise typer.Exit(FAILED)


@app.command()
def verify(
    slots: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SLOT]...", help="recognizer, diarizer, event_detector or synthesizer [all]."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load the slots' engines here, let each work on a short sample, and show what came out, how fast, in what memory.

    Exit code 1 if one of them cannot.
    """
    from schemas.errors import FluxionsError
    from serve.engines import SLOTS
    from serve.trying import try_out

    settings = load_settings(home)
    wanted = [slot for slot in SLOTS if not slots or slot in slots]
    if unknown := set(slots or ()) - set(SLOTS):
        raise typer.BadParameter(f"{unknown.pop()!r} is no slot; choose of: {', '.join(SLOTS)}")
    rows = []
    for slot in wanted:
        note(f"{slot}: loading …")
        try:
            rows.append({**try_out(settings, slot).to_json(), "problem": None})
        except FluxionsError as error:
            rows.append({"slot": slot, "problem": error.message})
    if as_json:
        print_json({"models": rows})
    else:
        for row in rows:
            print_table("", ["", ""], [[name, value] for name, value in row.items() if value is not None])
    if any(row["problem"] for row in rows):
        raise typer.Exit(FAILED)
