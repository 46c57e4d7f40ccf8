"""The endpoint of an instance's metrics for Prometheus, for all processes of Fluxions together.

Ray and HAProxy have endpoints of their own. ``HOME/monitoring/scrape-targets.json`` names the three, in the form of
Prometheus' ``file_sd_configs``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

import httpx

from schemas.settings import Settings
from serve.supervisor.instance import Instance, key_file
from telemetry.scrape import Gauges, InstanceMetrics, serve_metrics

_ASK_SECS = 8.0
"""Less than Prometheus' default timeout of a scrape, 10 s; more than the 4 s in which the gateway asks its engines."""
TARGETS = "monitoring/scrape-targets.json"
"""The file has its own folder, so that Prometheus can get access to it without access to the rest of the home."""


def metrics_folder(home: Path) -> Path:
    """Folder with the metrics of a home's processes."""
    return home / "metrics"


def start(settings: Settings, instance: Instance) -> WSGIServer:
    """Reset all counts and begin to answer scrapes.

    Must be called before any child starts. Raises OSError for a port in use.
    """
    folder = metrics_folder(settings.home)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.glob("*.db"):
        path.unlink()
    host, port = settings.server.metrics_host, instance.ports["metrics"]
    ask = GatewayGauges(f"http://{settings.server.host}:{settings.server.port}", key_file(settings.home, "node"))
    server = serve_metrics(host, port, InstanceMetrics(folder, ask))
    written = settings.home / TARGETS
    written.parent.mkdir(mode=0o700, exist_ok=True)
    written.write_text(json.dumps(targets(host, instance.ports), indent=2) + "\n")
    return server


def targets(host: str, ports: Mapping[str, int]) -> list[dict[str, Any]]:
    """The endpoints of an instance, as ``file_sd_configs`` reads them."""
    named = {"fluxions": (host, ports["metrics"]), "ray": ("127.0.0.1", ports["ray_metrics"])}
    named["haproxy"] = ("127.0.0.1", ports["haproxy_metrics"])
    return [{"targets": [f"{at}:{port}"], "labels": {"part": part}} for part, (at, port) in named.items()]


class GatewayGauges:
    """The gauges of `telemetry.metrics.SCRAPED`, from the gateway at ``url`` with the key in ``key_path``."""

    def __init__(self, url: str, key_path: Path) -> None:
        self._url = url
        self._key_path = key_path

    def __call__(self) -> Gauges:
        """The gauges; only ``fluxions_up`` with value 0 while the gateway does not answer."""
        try:
            headers = {"Authorization": self._key_path.read_text().strip()}
            answer = httpx.get(f"{self._url}/operator/status", headers=headers, timeout=_ASK_SECS, trust_env=False)
            return _gauges(answer.raise_for_status().json())
        except (httpx.HTTPError, OSError, ValueError, KeyError, TypeError):
            return {"fluxions_up": {(): 0.0}}


def _gauges(status: Mapping[str, Any]) -> Gauges:
    jobs = status["jobs"]
    return {
        "fluxions_up": {(): 1.0},
        "fluxions_queue_jobs": {(): jobs["queue_length"]},
        "fluxions_queue_oldest_seconds": {(): jobs["queue_oldest_secs"]},
        "fluxions_live_jobs": {(("status", name),): value for name, value in jobs["live_jobs"].items()},
        "fluxions_leases": {(): jobs["leases"]},
        "fluxions_unprojected_jobs": {(): jobs["unprojected"]},
        "fluxions_table_version": {(("table", name),): value for name, value in jobs["tables"].items()},
        "fluxions_engine_ready": {(("slot", one["slot"]),): float(one["ready"]) for one in status["engines"]},
    }
