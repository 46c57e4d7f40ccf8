"""A machine of a cluster with Ray and the ledger alone, and a client of the ledger: parts of the platform without engines.

``python -m tests.support.ray_machine ray [HEAD]`` runs Ray as `fluxions up --head` and `fluxions join` do.

``python -m tests.support.ray_machine client`` starts the ledger, creates jobs one by one, and prints ``ID NAME SECONDS``
for each that was acknowledged. It asks again while the ledger is away, and has a stuck ledger started again, as the head
does. Settings come from the environment.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
import time

from schemas.errors import Unavailable
from schemas.settings import Settings
from serve.supervisor.environment import environment
from serve.supervisor.instance import create
from serve.supervisor.instance_keys import prepare_keys
from serve.supervisor.metrics_endpoint import metrics_folder
from serve.supervisor.programs import ray_command


def run_ray(head: str) -> None:
    """Become ``ray start``."""
    settings = Settings()
    metrics_folder(settings.home).mkdir(parents=True, exist_ok=True)
    instance = create(settings, head)
    instance.write()
    prepare_keys(settings, instance)
    env = environment(settings, instance)
    del env["RAY_ADDRESS"]
    command = ray_command(settings, instance)
    os.execve(command[0], command, env)


def run_client(head: str) -> None:
    """Become the client, with the environment of the head's programs."""
    settings = Settings()
    instance = create(settings, head)
    argv = [sys.executable, "-m", "tests.support.ray_machine", "jobs"]
    os.execve(sys.executable, argv, environment(settings, instance))


async def create_jobs() -> None:
    """Create jobs until killed."""
    from serve import app
    from serve.deploy import connect
    from serve.ledger_actor import remote_ledger
    from serve.ledger_watch import LedgerWatch
    from tests.support.lakehouse_kit import new_job

    connect()
    app.start_ledger(Settings())

    def watch() -> None:
        looking = LedgerWatch()
        while True:
            looking.look()
            time.sleep(1.0)

    threading.Thread(target=watch, daemon=True).start()
    ledger = remote_ledger()
    for number in itertools.count():
        began, repeated = time.monotonic(), False
        while True:
            try:
                # One name for every attempt, as the gateway gives to a request that is repeated.
                job = await ledger.jobs.create(new_job(f"job-{number}", submission=f"job-{number}", is_repeated=repeated))
                break
            except Unavailable:
                repeated = True
                await asyncio.sleep(0.2)
        sys.stdout.write(f"{job.id} {job.filename} {time.monotonic() - began:.2f}\n")
        sys.stdout.flush()
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "jobs":
        asyncio.run(create_jobs())
    else:
        {"ray": run_ray, "client": run_client}[what](rest[0] if rest else "")
