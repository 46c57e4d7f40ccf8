"""`fluxions up`, `down`, `redeploy`, `status`, `doctor`: the instance of a home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cli.options import HomeOption, JsonOption, KeyOption, UrlOption, load_settings, locate
from cli.output import FAILED, UNREACHABLE, note, print_json, print_table
from schemas.errors import Unauthenticated

_REDEPLOY_SECS = 600.0
"""Models may take minutes to load."""
AddressOption = Annotated[
    str | None,
    typer.Option(help="Address by which other machines reach this one [FLUXIONS_NODE_ADDRESS].", show_default=False),
]


def up(
    home: HomeOption = None,
    port: Annotated[int | None, typer.Option(help="Port of the API [FLUXIONS_PORT, 8000].", show_default=False)] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on [FLUXIONS_HOST, 127.0.0.1].", show_default=False)
    ] = None,
    profile: Annotated[
        Literal["embedded", "cpu", "gpu"] | None,
        typer.Option(help="Choice of engines [FLUXIONS_PROFILE, embedded].", show_default=False),
    ] = None,
    head: Annotated[bool, typer.Option("--head", help="Let other machines join; needs --address.")] = False,
    address: AddressOption = None,
) -> None:
    """Start the platform in the foreground; Ctrl-C stops all of it.

    Examples:

      fluxions up --home /srv/fluxions --port 8080
      fluxions up --head --address 10.0.0.1
    """
    settings = load_settings(home, host, port, profile, address)
    if head and not settings.cluster.node_address:
        raise typer.BadParameter("--head needs --address, by which other machines reach this one", param_hint="--address")
    from serve.supervisor.supervisor import run

    raise typer.Exit(run(settings))


def join(
    head: Annotated[str, typer.Argument(help="The cluster's head, as HOST or HOST:PORT.")],
    home: HomeOption = None,
    port: Annotated[int | None, typer.Option(help="Port of the API [FLUXIONS_PORT, 8000].", show_default=False)] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on [FLUXIONS_HOST, 127.0.0.1].", show_default=False)
    ] = None,
    address: AddressOption = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(help="The cluster's secret [FLUXIONS_CLUSTER_SECRET_FILE, HOME/keys/cluster].", show_default=False),
    ] = None,
) -> None:
    """Join the cluster of another machine, in the foreground; Ctrl-C leaves it.

    The head was started by `fluxions up --head`; its secret is its HOME/keys/cluster.

    Example:

      fluxions join 10.0.0.1 --home /var/cache/fluxions --secret-file cluster.secret
    """
    from serve.supervisor.joining import head_address, own_address

    known = load_settings(home, host, port, address=address, secret_file=secret_file)
    target = head_address(head, known.cluster.cluster_port)
    own = known.cluster.node_address or own_address(target)
    settings = load_settings(home, host, port, address=own, secret_file=secret_file)
    from serve.supervisor.supervisor import run

    raise typer.Exit(run(settings, target))


def down(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Stop the instance that runs in HOME. If no instance runs, that is no error."""
    from serve.supervisor.supervisor import stop

    folder = load_settings(home).home
    stopped = stop(folder)
    if as_json:
        print_json({"home": str(folder), "stopped": stopped})
    else:
        note(f"{'stopped' if stopped else 'nothing ran in'} {folder}")


def redeploy(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Replace the application that runs in HOME by one from the code installed now, without a pause.

    Requests are answered throughout. Old replicas finish their requests, for half a minute at least. Then WebSockets are
    closed with code 1012 (service restart). Workers release the jobs that they have not finished.
    """
    from schemas.errors import ServerUnreachable
    from serve.supervisor import deployments
    from serve.supervisor.supervisor import instance

    folder = load_settings(home).home
    running = instance(folder)
    if running is None:
        raise ServerUnreachable(f"no server runs in {folder}; start one with `fluxions up`")
    secs = deployments.redeploy(running, _REDEPLOY_SECS)
    if as_json:
        print_json({"home": str(folder), "secs": round(secs, 1)})
    else:
        note(f"a new application serves in {folder} ({secs:.0f} s)")


def status(url: UrlOption = None, key: KeyOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what runs: health, readiness, engines, jobs and processes. Exit code 3 until the server is ready."""
    from clients.public import Client

    target = locate(url, key, home, operator=True)
    with Client(target) as client:
        _, health = client.probe("/health")
        ready_code, ready = client.probe("/ready")
        code, operator = client.probe("/operator/status") if target.key else (401, None)
    if target.key and code in (401, 403):
        raise Unauthenticated(
            f"{target.url} does not accept this key as an operator's; give an operator's key with --key",
            code="operator_only",
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
            note("no operator key was found, so engines and jobs are not shown (give a key with --key)")
    if ready_code != 200:
        raise typer.Exit(UNREACHABLE)


def doctor(
    home: HomeOption = None,
    port: Annotated[int | None, typer.Option(help="Port to check [FLUXIONS_PORT, 8000].", show_default=False)] = None,
    security: Annotated[bool, typer.Option("--security", help="Check only the protections of this home.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check this machine, the installation and the settings, and print remedies. Exit code 1 if a check fails."""
    from cli.doctor import examine
    from cli.doctor_security import examine_security

    findings = (examine_security if security else examine)(load_settings(home, port=port))
    if as_json:
        print_json({"checks": [f.to_json() for f in findings]})
    else:
        for finding in findings:
            print(f"{finding.verdict:<5} {finding.check}: {finding.sentence}")
    if any(f.verdict == "fail" for f in findings):
        raise typer.Exit(FAILED)


def show_details(details: Mapping[str, Any]) -> None:
    """Print any part of the server's status: a list of objects, an object of values, or a value."""
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
