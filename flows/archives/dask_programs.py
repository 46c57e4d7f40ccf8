"""A Dask scheduler and Dask workers on machines of a cluster, on which the batches of archives of any machine run.

The cluster's certificates encrypt all connections and authenticate both sides: whoever reaches a Dask scheduler can run
programs on its workers.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from runtime.children import module_env

SCHEDULER_PORT: Final = 6383
_WORKER_PORTS: Final = "6400:6499"
_NANNY_PORTS: Final = "6500:6599"
AUTHORITY: Final = "tls/ca.pem"
"""The cluster's authority in HOME. Prefect sends its flow's settings to the tasks on other machines, whose HOME may have
another path: so those who send this path run in HOME, and name it as it is there."""


def home_environment(home: Path, url: str, prefect_api: str | None) -> dict[str, str]:
    """The variables of programs that work for an archive and run in HOME, which has the gateway at ``url``; no key."""
    return {
        "FLUXIONS_HOME": str(home),
        "FLUXIONS_URL": url,
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        **(_prefect(prefect_api, home) if prefect_api else {}),
        **_dask_certificates(home),
    }


def _prefect(api: str, home: Path) -> dict[str, str]:
    """Where this home's Prefect is, and its credentials."""
    key = home / "keys" / "prefect"
    return {
        "PREFECT_API_URL": api,
        **({"PREFECT_API_AUTH_STRING": key.read_text().strip()} if key.exists() else {}),
        **({"PREFECT_API_SSL_CERT_FILE": AUTHORITY} if api.startswith("https://") else {}),
    }


def _dask_certificates(home: Path) -> dict[str, str]:
    """Dask's own variables for the certificate of this machine; none on a machine that is in no cluster."""
    folder = home / "tls"
    if not (home / AUTHORITY).exists():
        return {}
    prefix = "DASK_DISTRIBUTED__COMM__TLS__"
    found = {f"{prefix}CA_FILE": str(home / AUTHORITY)}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        found |= {f"{prefix}{role}__CERT": str(folder / "node.pem"), f"{prefix}{role}__KEY": str(folder / "node.key")}
    return found


def scheduler_command(address: str, port: int) -> list[str]:
    """A scheduler that other machines of the cluster reach."""
    # It imports what batches name before it listens; later it would not answer while it imports that.
    preload = ["--preload", "flows.archives.batch_task"]
    return [*_dask("scheduler"), *preload, "--protocol", "tls", "--host", address, "--port", str(port)]


def worker_command(scheduler: str, address: str, count: int) -> list[str]:
    """``count`` worker processes of one thread each on this machine, which has this address."""
    ports = ["--worker-port", _WORKER_PORTS, "--nanny-port", _NANNY_PORTS]
    processes = ["--nworkers", str(count), "--nthreads", "1"]
    return [*_dask("worker"), scheduler, "--host", address, *ports, *processes]


def environment(home: Path, url: str, prefect_api: str) -> Mapping[str, str]:
    """The environment of both programs."""
    own = {
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true",
        "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "false",
        "DASK_TEMPORARY_DIRECTORY": str(home / "scratch"),
    }
    return module_env(home_environment(home, url, prefect_api) | own)


def _dask(what: str) -> Sequence[str]:
    return [sys.executable, "-m", "dask", what, "--no-dashboard"]
