"""HAProxy with Ray's own configuration, hardened as by the platform, before servers of a test."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions

from serve.supervisor import haproxy
from tests.support.processes import free_port, started

LIMITS = haproxy.ConnectionLimits(
    trusted_proxies=("127.0.0.2",), header_secs=6.0, idle_secs=30.0, connections=64, connections_per_address=8
)


class Proxied:
    """HAProxy before servers on loopback; ``path`` answers 200 once it and a server run."""

    def __init__(self, folder: Path, backend_ports: Sequence[int], path: str = "/who") -> None:
        self.folder, self._path = folder, path
        self.port, self.metrics, self.stats = free_port(), free_port(), free_port()
        self.config = folder / "haproxy.cfg"
        options = HTTPOptions(host="127.0.0.1", port=self.port)
        config = HAProxyConfig(
            http_options=options,
            metrics_port=self.metrics,
            stats_port=self.stats,
            socket_path=str(folder / "admin.sock"),
            server_state_base=str(folder),
            server_state_file=str(folder / "state"),
        )
        servers = [ServerConfig(name=f"replica{port}", host="127.0.0.1", port=port) for port in backend_ports]
        backend = BackendConfig(name="app", path_prefix="/", app_name="app", servers=servers, http_health_check_path=path)
        HAProxyApi(config, {"app": backend}, str(self.config))._generate_config_file_internal()

    @contextmanager
    def running(self) -> Iterator[psutil.Process]:
        program = haproxy.install(self.folder, LIMITS)
        argv = [str(program), "-db", "-f", str(self.config)]
        with (self.folder / "out").open("wb") as out, started(argv, stdout=out, stderr=out) as process:
            deadline = time.monotonic() + 60
            while self.status() != 200:
                assert process.poll() is None, (self.folder / "out").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield psutil.Process(process.pid)

    def status(self) -> int:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{self._path}", trust_env=False).status_code
        except httpx.HTTPError:
            return 0

    def asked_from(self, source: str, **headers: str) -> dict[str, str]:
        transport = httpx.HTTPTransport(local_address=source)
        with httpx.Client(transport=transport, trust_env=False) as client:
            body: dict[str, str] = client.get(f"http://127.0.0.1:{self.port}/who", headers=headers).json()
        return body
