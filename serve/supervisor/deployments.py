"""Requests a new deployment of the application, and waits until it serves: ``HOME/deployment`` counts the deployments."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final

from runtime.children import ServiceProcess, wait_ended
from schemas.domain import Seconds
from schemas.errors import Conflict, Unavailable
from serve.supervisor.instance import Instance

ANEW: Final = "--anew"
"""The option of `serve.deploy` that also replaces the ledger."""
_FILE: Final = "deployment"
_END_SECS: Final[Seconds] = 5.0


def deployment(home: Path) -> int:
    """Number of deployments of the application in ``home``."""
    try:
        return int((home / _FILE).read_text())
    except (FileNotFoundError, ValueError):
        return 0


def record_deployment(home: Path) -> None:
    """Count a deployment that serves now. The file is replaced atomically."""
    written = home / f"{_FILE}.tmp"
    written.write_text(str(deployment(home) + 1))
    written.replace(home / _FILE)


def start_anew(deployer: ServiceProcess) -> None:
    """Replace the process that deployed the application by a process that deploys it again.

    The application serves meanwhile.
    """
    deployer.signal(signal.SIGTERM)
    if not wait_ended([deployer], _END_SECS):
        deployer.signal(signal.SIGKILL)
        wait_ended([deployer], _END_SECS)
    usual = deployer.argv
    deployer.argv = [*usual, ANEW]
    deployer.start()
    deployer.argv = usual


def redeploy(instance: Instance, within_secs: Seconds) -> Seconds:
    """Replace the application of a running instance and wait until the new one serves.

    Returns the time taken, s. Raises Conflict if the version of its supervisor cannot do this, Unavailable if it takes
    longer than ``within_secs``.
    """
    if not instance.can_redeploy:
        raise Conflict(
            "this server was started by a version without `fluxions redeploy`; stop it and start it again",
            code="other_version",
        )
    home, began = Path(instance.home), time.monotonic()
    before = deployment(home)
    os.kill(instance.pid, signal.SIGHUP)
    while deployment(home) == before:
        if time.monotonic() - began > within_secs:
            raise Unavailable(f"the new application does not serve after {within_secs:.0f} s; see {home}/logs/serve.log")
        time.sleep(0.1)
    return time.monotonic() - began
