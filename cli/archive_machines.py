"""`fluxions archive scheduler` and `fluxions archive worker`: batches of archives on several machines of a cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import HomeOption, load_settings
from cli.output import note
from schemas.errors import Conflict, ServerUnreachable

if TYPE_CHECKING:
    from serve.supervisor.instance import Instance


def scheduler(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port for the other machines [6383].", show_default=False)
    ] = None,
    home: HomeOption = None,
) -> None:
    """Give the batches of archives to `fluxions archive worker` on any machine of the cluster; Ctrl-C ends it.

    Example:

      fluxions archive scheduler
      FLUXIONS_DASK_ADDRESS=tls://10.0.0.1:6383 fluxions archive run s3://bucket/calls
    """
    from flows.archives.dask_programs import SCHEDULER_PORT, scheduler_command

    here, chosen = _machine(home), port or SCHEDULER_PORT
    note(f"scheduler at tls://{here.address}:{chosen}")
    _become(here, scheduler_command(here.address, chosen))


def worker(
    address: Annotated[str, typer.Argument(metavar="SCHEDULER", help="The scheduler, as tls://HOST:PORT.")],
    workers: Annotated[int, typer.Option(min=1, max=100, help="Processes.")] = 2,
    home: HomeOption = None,
) -> None:
    """Work on archives that use this scheduler, until Ctrl-C. The machine must reach their sources.

    Example:

      fluxions archive worker tls://10.0.0.1:6383 --home /var/cache/fluxions
    """
    from flows.archives.dask_programs import worker_command
    from runtime.priority import lower_priority

    if not address.startswith("tls://"):
        raise typer.BadParameter(f"{address!r} does not begin with tls://", param_hint="SCHEDULER")
    here = _machine(home)
    lower_priority()
    _become(here, worker_command(address, here.address, workers))


def _machine(home: Path | None) -> Instance:
    """The running machine of a cluster in HOME. Raises ServerUnreachable without one, Conflict outside of a cluster."""
    from serve.supervisor.supervisor import instance

    folder = load_settings(home).home
    here = instance(folder)
    if here is None:
        raise ServerUnreachable(f"no server runs in {folder}; start one with `fluxions up --head` or `fluxions join`")
    if not here.in_cluster:
        raise Conflict(
            f"{folder} is in no cluster, and archives run on this machine alone; see `fluxions up --head`",
            code="no_cluster",
        )
    return here


def _become(here: Instance, command: Sequence[str]) -> None:
    """Replace this process by a program that runs in HOME, with the machine's gateway, Prefect and certificate."""
    from flows.archives.dask_programs import environment

    os.chdir(here.home)
    os.execve(command[0], list(command), environment(Path(here.home), here.url, here.prefect_api))  # noqa: S606 - its arguments are ours
