"""One running instance: its folder, ports, keys and environment. Instances on one machine share nothing but code."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from schemas.errors import Conflict, InvalidParameter
from schemas.settings import Settings

MARKER = "FLUXIONS_INSTANCE"
"""Environment variable every process of an instance inherits; by it none is ever left behind."""

_BLOCK = 200
_FIRST_PORT = 20_000
_LAST_PORT = 32_000  # below the kernel's ephemeral range, so that outgoing connections never sit on our ports
_NAMED = (
    "gcs",
    "node_manager",
    "object_manager",
    "dashboard",
    "agent_http",
    "agent_grpc",
    "runtime_env",
    "ray_metrics",
    "ray_client",
    "haproxy_metrics",
    "haproxy_stats",
    "prefect",
    "fallback_http",
    "fallback_grpc",
)
_INGRESS_FIRST, _INGRESS_LAST = 20, 119
_GRPC_FIRST, _GRPC_LAST = 120, 199


@dataclass(frozen=True)
class Instance:
    """What ``HOME/instance.json`` says of a running instance."""

    pid: int
    url: str
    home: str
    marker: str
    ports: dict[str, int]
    ray_temp: str

    @property
    def prefect_api(self) -> str:
        return f"http://127.0.0.1:{self.ports['prefect']}/api"

    def write(self) -> None:
        path = Path(self.home) / "instance.json"
        path.with_suffix(".tmp").write_text(json.dumps(asdict(self), indent=2))
        path.with_suffix(".tmp").replace(path)

    @classmethod
    def read(cls, home: Path) -> Instance | None:
        """The instance that runs, or last ran, in ``home``."""
        try:
            return cls(**json.loads((home / "instance.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None


def create(settings: Settings) -> Instance:
    """A new instance for this process. Raises InvalidParameter for an address it must not or cannot listen on."""
    server = settings.server
    if not server.is_loopback() and not server.allow_public:
        raise InvalidParameter(
            f"FLUXIONS_HOST is {server.host}, which other machines can reach; set FLUXIONS_ALLOW_PUBLIC=1 if you mean it "
            "and put TLS in front",
            param="FLUXIONS_HOST",
        )
    if not _free(server.port, server.host):
        raise Conflict(f"port {server.port} is taken; choose another with --port or FLUXIONS_PORT", param="FLUXIONS_PORT")
    digest = hashlib.sha256(str(settings.home).encode()).hexdigest()
    ray_temp = Path(tempfile.gettempdir()) / f"fx-{digest[:8]}"  # short: Unix socket paths end at 107 characters
    return Instance(
        os.getpid(), server.url, str(settings.home), secrets.token_hex(8), _ports(int(digest[:8], 16)), str(ray_temp)
    )


def _ports(seed: int) -> dict[str, int]:
    """A block of free ports, the same one for a home whenever it is free."""
    blocks = (_LAST_PORT - _FIRST_PORT) // _BLOCK
    for attempt in range(blocks):
        base = _FIRST_PORT + (seed + attempt) % blocks * _BLOCK
        if all(_free(base + i) for i in range(_INGRESS_FIRST + 10)):
            return {name: base + i for i, name in enumerate(_NAMED)} | {
                "ingress_first": base + _INGRESS_FIRST,
                "ingress_last": base + _INGRESS_LAST,
                "grpc_first": base + _GRPC_FIRST,
                "grpc_last": base + _GRPC_LAST,
            }
    raise Conflict("no block of free ports between 20000 and 32000; stop some instances with `fluxions down`")


def _free(port: int, host: str = "0.0.0.0") -> bool:  # noqa: S104 - asks whether anyone listens there, on any address
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def key_file(home: Path, name: str) -> Path:
    return home / "keys" / name


def ensure_key(home: Path, name: str, given: str = "") -> str:
    """The plain key kept for people of this home (mode 0600); made at first start, ``given`` if there is one."""
    path = key_file(home, name)
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(given or f"fx_{secrets.token_urlsafe(32)}")
    return path.read_text().strip()


def environment(settings: Settings, instance: Instance) -> dict[str, str]:
    """What every child process inherits: our settings, own ports and sockets, no telemetry."""
    ports, home, temp = instance.ports, Path(instance.home), instance.ray_temp
    return {
        **os.environ,
        MARKER: instance.marker,
        "FLUXIONS_HOME": str(home),
        "FLUXIONS_HOST": settings.server.host,
        "FLUXIONS_PORT": str(settings.server.port),
        "FLUXIONS_PROFILE": settings.engines.profile,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(home / "keys" / "ray"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
        "RAY_TMPDIR": temp,
        "RAY_ADDRESS": f"127.0.0.1:{ports['gcs']}",
        "RAY_worker_niceness": "0",  # see schemas.priority
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        # What is larger goes through shared memory, 3 ms of CPU each; at Ray's default, 100 kB, that is most utterances.
        "RAY_max_direct_call_object_size": "2097152",
        # Ray's own beat on an idle instance, 19 % of a core at its defaults and 13 % so: engines want those cores.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "10000",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{temp}/haproxy/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{temp}/haproxy/admin.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": f"{temp}/haproxy",
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{temp}/haproxy/server-state",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports["haproxy_metrics"]),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports["haproxy_stats"]),
        # HAProxy falls back to this port while no replica is up; left at Ray's default it reaches another instance.
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports["fallback_http"]),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ports["fallback_grpc"]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(ports["ingress_first"]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(ports["ingress_last"]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(ports["grpc_first"]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(ports["grpc_last"]),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": instance.prefect_api,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NEMO_ONELOGGER_ENABLED": "0",
    }
