"""`fluxions up`, `down`, `status`, `doctor`: the instance that lives in a home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import typer

from schemas.errors import Unauthenticated
from serve.cli.options import HomeOption, JsonOption, KeyOption, UrlOption, load_settings, locate
from serve.cli.output import FAILED, UNREACHABLE, note, print_json, print_table


def up(
    home: HomeOption = None,
    port: Annotated[int | None, typer.Option(help="Port of the API [FLUXIONS_PORT, 8000].", show_default=False)] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on [FLUXIONS_HOST, 127.0.0.1].", show_default=False)
    ] = None,
    profile: Annotated[
        Literal["embedded", "cpu", "gpu"] | None,
        typer.Option(help="Which engines serve [FLUXIONS_PROFILE, embedded].", show_default=False),
    ] = None,
) -> None:
    """Start the platform in the foreground; Ctrl-C stops all of it.

    Example:

      fluxions up --home /srv/fluxions --port 8080
    """
    settings = load_settings(home, host, port, profile)
    from serve.up import run

    raise typer.Exit(run(settings))


def down(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Stop the instance that runs in HOME. One that does not run is no error."""
    from serve.up import stop

    folder = load_settings(home).home
    stopped = stop(folder)
    if as_json:
        print_json({"home": str(folder), "stopped": stopped})
    else:
        note(f"{'stopped' if stopped else 'nothing ran in'} {folder}")


def status(url: UrlOption = None, key: KeyOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what runs: health, readiness, engines, jobs and processes. Exit code 3 until the server is ready."""
    from serve.cli.client import Client

    target = locate(url, key, home, operator=True)
    with Client(target) as client:
        _, health = client.probe("/health")
        ready_code, ready = client.probe("/ready")
        code, operator = client.probe("/operator/status") if target.key else (401, None)
    if target.key and code in (401, 403):
        raise Unauthenticated(
            f"{target.url} does not take this key as an operator's; give one with --key", code="operator_only"
        )
    details = operator if code == 200 else None
    if as_json:
        print_json(
            {"url": target.url, "ready": ready_code == 200, "health": health, "readiness": ready, "operator": details}
        )
    else:
        print(f"{target.url}: {_word(health, 'status', 'answers')}, {'ready' if ready_code == 200 else 'not ready'}")
        if ready_code != 200 and isinstance(ready, Mapping):
            note(str(ready.get("error", {}).get("message", "")))
        if isinstance(details, Mapping):
            show_details(details)
        elif not target.key:
            note("no operator key at hand: engines and jobs are not shown (give one with --key)")
    if ready_code != 200:
        raise typer.Exit(UNREACHABLE)


def doctor(
    home: HomeOption = None,
    port: Annotated[int | None, typer.Option(help="Port to check [FLUXIONS_PORT, 8000].", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Check this machine, the installation and the settings, and say what to do. Exit code 1 if a check fails."""
    from serve.cli.doctor import examine

    findings = examine(load_settings(home, port=port))
    if as_json:
        print_json({"checks": [f.to_json() for f in findings]})
    else:
        for finding in findings:
            print(f"{finding.verdict:<5} {finding.check}: {finding.sentence}")
    if any(f.verdict == "fail" for f in findings):
        raise typer.Exit(FAILED)


def show_details(details: Mapping[str, Any]) -> None:
    """Tables of whatever the server tells its operator: a list of objects, an object of values, or a value."""
    for name, value in details.items():
        if isinstance(value, Sequence) and not isinstance(value, str) and value and isinstance(value[0], Mapping):
            columns = list(dict.fromkeys(column for row in value for column in row))
            print_table(name, columns, [[_compact(row.get(column)) for column in columns] for row in value])
        elif isinstance(value, Mapping):
            print_table(name, ["", ""], [[k, _compact(v)] for k, v in value.items()])
        else:
            print(f"{name}: {_compact(value)}")


def _compact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={_compact(v)}" for k, v in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_compact, value))
    return "" if value is None else str(value)


def _word(body: Any, field: str, otherwise: str) -> str:
    return str(body.get(field, otherwise)) if isinstance(body, Mapping) else otherwise
