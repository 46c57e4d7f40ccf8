"""Machines of a cluster as Ray sees them, on loopback addresses of this one: with the platform's ports, TLS and tokens."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from runtime.children import start, stop
from schemas.errors import Unavailable
from schemas.settings import Settings
from serve.supervisor.environment import environment
from serve.supervisor.instance import MARKER, Instance, create
from serve.supervisor.instance_keys import prepare_keys
from serve.supervisor.marked_processes import end_marked
from serve.supervisor.metrics_endpoint import metrics_folder
from serve.supervisor.programs import ray_command

ALONE: Final = ("",)
PAIR: Final = ("127.0.0.2", "127.0.0.3")
_START_SECS: Final = 180.0
_AGENTS: Final = ("runtime_env_agent", "dashboard_agent_listen")


@contextmanager
def machines(folder: Path, addresses: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """Ray on machines with these addresses, of which the first is the head; an empty one is a machine without a cluster.

    Gives the environment of programs on the head. Raises Unavailable for a Ray that does not start.
    """
    with ExitStack() as stack:
        head, environments = "", []
        for number, address in enumerate(addresses):
            settings = _settings(folder, number, address)
            instance = create(settings, head)
            metrics_folder(settings.home).mkdir(parents=True)
            prepare_keys(settings, instance)
            env = environment(settings, instance)
            environments.append(env)
            stack.enter_context(_ray(settings, instance, {k: v for k, v in env.items() if k != "RAY_ADDRESS"}))
            head = head or instance.ray_address
        yield environments[0]


def _settings(folder: Path, number: int, address: str) -> Settings:
    found = Settings()
    home = folder / f"machine-{number}"
    home.mkdir()
    secret = str(folder / "secret")
    return found.model_copy(
        update={
            "server": found.server.model_copy(update={"home": home, "metrics_port": 0}),
            "cluster": found.cluster.model_copy(update={"node_address": address, "cluster_secret_file": secret}),
            "storage": found.storage.model_copy(update={"storage_url": str(folder / "store")}),
        }
    )


@contextmanager
def _ray(settings: Settings, instance: Instance, env: Mapping[str, str]) -> Iterator[None]:
    """Ray of one machine, once its agents run: it waits 15 s for them, and several that start at once are slow."""
    log = settings.home / "ray.log"
    with log.open("wb") as out:
        process = start(ray_command(settings, instance), env, stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _START_SECS
        while not all(any(Path(instance.ray_temp, "session_latest").glob(f"{agent}_port_*")) for agent in _AGENTS):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"Ray does not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        yield
    finally:
        stop(process)
        end_marked(MARKER, instance.marker, 2.0)
        shutil.rmtree(instance.ray_temp, ignore_errors=True)
