"""The command lines of an instance's child processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from schemas.settings import Settings
from serve.supervisor.instance import Instance

OBJECT_STORE_BYTES = 256 * 1024 * 1024


def program(name: str) -> str:
    """Path of a program that is installed in the same folder as Python."""
    return str(Path(sys.executable).parent / name)


def ray_command(settings: Settings, instance: Instance) -> list[str]:
    """Ray on this machine: the head of a cluster, or a machine that joins one."""
    ports = instance.ports
    options: dict[str, object] = {
        "node-ip-address": instance.address,
        "node-manager-port": ports["node_manager"],
        "object-manager-port": ports["object_manager"],
        "dashboard-agent-listen-port": ports["agent_http"],
        "dashboard-agent-grpc-port": ports["agent_grpc"],
        "runtime-env-agent-port": ports["runtime_env"],
        "metrics-export-port": ports["ray_metrics"],
        "min-worker-port": ports["worker_first"],
        "max-worker-port": ports["worker_last"],
        "object-store-memory": OBJECT_STORE_BYTES,
        "temp-dir": instance.ray_temp,
    }
    if instance.joined:
        options |= {"address": instance.ray_address}
    else:
        options |= {
            "port": ports["gcs"],
            "dashboard-host": "127.0.0.1",
            "dashboard-port": ports["dashboard"],
            "ray-client-server-port": ports["ray_client"],
            "include-dashboard": "false",
            "include-log-monitor": "false",
        }
    if instance.in_cluster:
        options["resources"] = json.dumps(role_resources(settings))
    flags = [f"--{name}={value}" for name, value in options.items()]
    head = [] if instance.joined else ["--head"]
    return [program("ray"), "start", *head, "--block", "--disable-usage-stats", *flags]


def role_resources(settings: Settings) -> dict[str, float]:
    """The custom resources of Ray that this machine offers, see `serve.engines.placement.ROLE_SHARE`."""
    offered: dict[str, float] = {f"fluxions_{role}": 1.0 for role in settings.cluster.roles if role != "worker"}
    if "gateway" in settings.cluster.roles:
        offered["fluxions_gateway"] = float(settings.engines.gateway_replicas)
    return offered


def programs(settings: Settings, instance: Instance) -> dict[str, list[str]]:
    """The command line of each child process, by name, in the order of their start."""
    found: dict[str, list[str]] = {}
    if not instance.external:
        found["ray"] = ray_command(settings, instance)
    if not instance.joined:
        found["prefect"] = _prefect_command(instance)
        found["serve"] = [sys.executable, "-m", "serve.deploy"]
    if "worker" in settings.cluster.roles:
        for index in range(settings.jobs.workers):
            found[f"worker-{index}"] = [sys.executable, "-m", "flows.worker"]
    if settings.storage.maintenance and not instance.joined:
        found["maintenance"] = [sys.executable, "-m", "flows.scheduler"]
    return found


def _prefect_command(instance: Instance) -> list[str]:
    command = [sys.executable, "-m", "serve.supervisor.prefect_server", str(instance.ports["prefect"])]
    return [*command, instance.address, str(instance.tls_folder)] if instance.in_cluster else command
