"""`fluxions models`: lists, downloads and tests the models of the slots. Works without a server."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.options import HomeOption, JsonOption, help_if_alone, load_settings
from cli.output import FAILED, note, print_json, print_table

app = typer.Typer(callback=help_if_alone, invoke_without_command=True, help="List, fetch and try out models.")

_MIB = 1024 * 1024


@app.command("list")
def list_models(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show every slot's engine and model, where the model is stored, and why it cannot be used. Loads nothing."""
    from schemas.errors import Unavailable
    from serve.engines.model_download import size_bytes
    from serve.engines.model_files import locate, source
    from serve.engines.registry import SLOTS, choice, describe_slot

    settings = load_settings(home)
    rows = []
    for slot in SLOTS:
        chosen = choice(settings, slot)
        row: dict[str, Any] = {"slot": slot, "engine": chosen.engine, "model": chosen.model, "path": "", "size_bytes": None}
        row["source"] = "another server" if chosen.remote else "built in"
        try:
            info = describe_slot(settings, slot)
            if chosen.model and not chosen.remote:
                path = locate(chosen)
                row |= {"path": str(path), "size_bytes": size_bytes(path), "source": source(chosen)}
            row |= {"model": info.model, "revision": info.revision, "problem": None}
        except Unavailable as error:
            row |= {"revision": None, "problem": error.message, "source": None}
        rows.append(row)
    if as_json:
        print_json({"models": rows})
    else:
        shown = [[r["slot"], r["engine"], r["model"], r["revision"] or r["problem"], r["source"], r["path"]] for r in rows]
        print_table("", ["slot", "engine", "model", "revision, or why not", "source", "path"], shown)
    if any(row["problem"] for row in rows):
        raise typer.Exit(FAILED)


@app.command()
def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="owner/name, owner/name@revision, or bundled weights, such as whisper-base [the slots' models].",
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Download models from the hub into its cache on this machine, where every server finds them.

    Where the installed packages contain a model's weights, those are used; the source of each model is shown. A download
    that fails does not stop the others; the exit code is then 1.

    Example:

      fluxions models pull nvidia/parakeet-tdt-0.6b-v3
    """
    from schemas.errors import Unavailable
    from serve.engines.model_download import fetch
    from serve.engines.model_files import is_hub_name
    from serve.engines.registry import SLOTS, choice
    from serve.engines.weights_catalog import weights_named

    settings = load_settings(home)
    here = [found.model for slot in SLOTS if not (found := choice(settings, slot)).remote]
    chosen = names or [model for model in here if is_hub_name(model) or weights_named(model)]
    if not chosen:
        note("the engines of these settings bring their own models: nothing to fetch")
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(chosen):
        note(f"fetching {name} …")
        try:
            one = fetch(name, settings.home / "cache")
        except Unavailable as error:
            note(error.message)
            rows.append({"model": name, "problem": error.message})
            continue
        rows.append(
            {"model": name, "path": str(one.path), "size_bytes": one.size_bytes, "source": one.source, "problem": None}
        )
        if not as_json:
            print(f"{name}  {one.size_bytes / _MIB:.0f} MiB  {one.source}  {one.path}")
    if as_json:
        print_json({"models": rows})
    if any(row["problem"] for row in rows):
        raise typer.Exit(FAILED)


@app.command()
def verify(
    slots: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SLOT]...", help="recognizer, diarizer, event_detector, synthesizer or language_model [all]."
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load the slots' engines in this process, run each on a short sample, and show result, speed and memory.

    The exit code is 1 if an engine fails.
    """
    from schemas.errors import FluxionsError
    from serve.engines.registry import SLOTS
    from serve.engines.self_test import self_test

    settings = load_settings(home)
    wanted = [slot for slot in SLOTS if not slots or slot in slots]
    if unknown := set(slots or ()) - set(SLOTS):
        raise typer.BadParameter(f"{unknown.pop()!r} is no slot; choose from: {', '.join(SLOTS)}")
    rows = []
    for slot in wanted:
        note(f"{slot}: loading …")
        try:
            rows.append({**self_test(settings, slot).to_json(), "problem": None})
        except FluxionsError as error:
            rows.append({"slot": slot, "problem": error.message})
    if as_json:
        print_json({"models": rows})
    else:
        for row in rows:
            print_table("", ["", ""], [[name, value] for name, value in row.items() if value is not None])
    if any(row["problem"] for row in rows):
        raise typer.Exit(FAILED)
