"""A Dask scheduler and Dask workers on machines of a cluster, on which the batches of archives of any machine run.

The cluster's certificates encrypt all connections and authenticate both sides: whoever reaches a Dask scheduler can run
programs on its workers.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from flows.archives.home_environment import home_environment
from runtime.children import module_env

SCHEDULER_PORT: Final = 6383
_WORKER_PORTS: Final = "6400:6499"
_NANNY_PORTS: Final = "6500:6599"


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
