"""A running instance: its folder, ports and keys. Instances on one machine share only code."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from runtime import boot_clock
from schemas.errors import Conflict, InvalidParameter
from schemas.gateway_settings import is_loopback
from schemas.settings import Settings
from serve.supervisor.own_folders import own_file, write_private

MARKER = "FLUXIONS_INSTANCE"
"""Environment variable that every process of an instance inherits, so that all of them can be found and ended."""

_BLOCK = 400
_FIRST_PORT = 20_000
_LAST_PORT = 32_000  # below the kernel's ephemeral range, so that outgoing connections never use our ports
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
    "metrics",
    "autoscaler_metrics",
    "dashboard_metrics",
)
CLUSTER_PORTS = ("gcs", "peers", "prefect")
"""In a cluster these ports follow `FLUXIONS_CLUSTER_PORT`, because other machines must know them."""
_INGRESS_FIRST, _INGRESS_LAST = 20, 119
_GRPC_FIRST, _GRPC_LAST = 120, 199
_WORKER_FIRST, _WORKER_LAST = 200, 399


@dataclass(frozen=True)
class Instance:
    """The contents of ``HOME/instance.json``."""

    pid: int
    url: str
    home: str
    marker: str
    ports: dict[str, int]
    ray_temp: str
    start: str = ""
    """Start time of its supervisor, see `runtime.boot_clock`; empty for a supervisor of an earlier version."""
    can_redeploy: bool = False
    """Whether its supervisor redeploys the application on SIGHUP, instead of ending."""
    address: str = "127.0.0.1"
    """Address by which other machines reach this one; loopback on a single machine."""
    head: str = ""
    """``HOST:PORT`` of the cluster that this machine joined."""
    external: bool = False
    """Whether ``head`` is a Ray cluster that was not started by Fluxions."""

    @property
    def is_running(self) -> bool:
        """Whether its supervisor runs. Another process that got the same process id since does not count."""
        return boot_clock.is_running(self.pid, self.start) if self.start else psutil.pid_exists(self.pid)

    @property
    def in_cluster(self) -> bool:
        """Whether this machine is part of a cluster that Fluxions started."""
        return self.address != "127.0.0.1"

    @property
    def joined(self) -> bool:
        """Whether another machine is the head of the cluster."""
        return bool(self.head) and not self.external

    @property
    def ray_address(self) -> str:
        """``HOST:PORT`` of Ray's control service."""
        return self.head or f"{self.address}:{self.ports['gcs']}"

    @property
    def tls_folder(self) -> Path:
        """Folder of this machine's certificate, see `serve.supervisor.cluster_secret`."""
        return Path(self.home) / "tls"

    @property
    def prefect_api(self) -> str:
        """URL of the instance's Prefect API, on the cluster's head."""
        if not self.in_cluster:
            return f"http://127.0.0.1:{self.ports['prefect']}/api"
        host = self.head.rpartition(":")[0] or self.address
        return f"https://{host}:{self.ports['prefect']}/api"

    @property
    def port_range(self) -> tuple[int, int]:
        """The first and the last port of its block. Only this machine uses these ports."""
        chosen = ("metrics", *CLUSTER_PORTS) if self.in_cluster else ("metrics",)
        block = [port for name, port in self.ports.items() if name not in chosen]
        return min(block), max(block)

    def write(self) -> None:
        """Write ``HOME/instance.json``, whole or not at all."""
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


def create(settings: Settings, head: str = "") -> Instance:
    """A new instance for this process, which joins the cluster at ``head`` (HOST:PORT) if that is given.

    Raises InvalidParameter for an address on which it must not or cannot listen, and for storage that other machines
    cannot reach.
    """
    server, cluster = settings.server, settings.cluster
    if not server.is_loopback() and not server.allow_public:
        raise InvalidParameter(
            f"FLUXIONS_HOST is {server.host}, which other machines can reach; set "
            "FLUXIONS_ALLOW_PUBLIC=1 if this is intended, and put TLS in front",
            param="FLUXIONS_HOST",
        )
    if not is_loopback(server.metrics_host) and not server.allow_public:
        raise InvalidParameter(
            f"FLUXIONS_METRICS_HOST is {server.metrics_host}, which other machines can reach; set "
            "FLUXIONS_ALLOW_PUBLIC=1 if this is intended, and allow only your Prometheus server",
            param="FLUXIONS_METRICS_HOST",
        )
    if server.metrics_port and not _free(server.metrics_port, server.metrics_host):
        raise Conflict(
            f"port {server.metrics_port} is taken; choose another with FLUXIONS_METRICS_PORT", param="FLUXIONS_METRICS_PORT"
        )
    if not _free(server.port, server.host):
        raise Conflict(f"port {server.port} is taken; choose another with --port or FLUXIONS_PORT", param="FLUXIONS_PORT")
    if cluster.ray_address and cluster.node_address:
        raise InvalidParameter(
            "FLUXIONS_RAY_ADDRESS names a cluster that runs already; FLUXIONS_NODE_ADDRESS starts one: set one of them",
            param="FLUXIONS_RAY_ADDRESS",
        )
    if cluster.has_other_machines and not head and not reached_by_all(settings.storage.storage_url):
        raise InvalidParameter(
            "a cluster needs storage that every machine reaches: set FLUXIONS_STORAGE_URL to a bucket (s3://…) or to the "
            "absolute path of a shared folder",
            param="FLUXIONS_STORAGE_URL",
        )
    digest = hashlib.sha256(str(settings.home).encode()).hexdigest()
    # The folder belongs to this user, because other users can write to the system's temporary folder. The path is short,
    # because Unix socket paths have at most 107 characters.
    ray_temp = Path(tempfile.gettempdir()) / f"fx-{os.getuid()}" / digest[:8]
    marker, ports = secrets.token_hex(8), _ports(int(digest[:8], 16))
    if server.metrics_port:
        ports["metrics"] = server.metrics_port
    if cluster.node_address:
        first = int(head.rpartition(":")[2]) if head else cluster.cluster_port
        ports |= {name: first + number for number, name in enumerate(CLUSTER_PORTS)}
    pid = os.getpid()
    return Instance(
        pid,
        server.url,
        str(settings.home),
        marker,
        ports,
        str(ray_temp),
        boot_clock.start_of(pid) or "",
        can_redeploy=not head,
        address=cluster.node_address or "127.0.0.1",
        head=head or cluster.ray_address,
        external=bool(cluster.ray_address),
    )


def reached_by_all(storage_url: str) -> bool:
    """Whether other machines can reach the storage: a bucket, or the absolute path of a folder that all mount."""
    return "://" in storage_url.removeprefix("file://") or Path(storage_url.removeprefix("file://")).is_absolute()


def _ports(seed: int) -> dict[str, int]:
    """A block of free ports. A home gets the same block whenever that block is free."""
    blocks = (_LAST_PORT - _FIRST_PORT) // _BLOCK
    for attempt in range(blocks):
        base = _FIRST_PORT + (seed + attempt) % blocks * _BLOCK
        if all(_free(base + i) for i in range(_INGRESS_FIRST + 10)):
            return {name: base + i for i, name in enumerate(_NAMED)} | {
                "ingress_first": base + _INGRESS_FIRST,
                "ingress_last": base + _INGRESS_LAST,
                "grpc_first": base + _GRPC_FIRST,
                "grpc_last": base + _GRPC_LAST,
                "worker_first": base + _WORKER_FIRST,
                "worker_last": base + _WORKER_LAST,
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
    """File of the key ``name`` of a home, in plain text."""
    return home / "keys" / name


def put_key(home: Path, name: str, key: str) -> str:
    """Write the key ``name`` into ``HOME/keys`` (mode 0600), replacing an earlier one, and return the file."""
    path = key_file(home, name)
    if _stored_key(path) != key:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, key.encode())
    return key


def ensure_key(home: Path, name: str, given: str = "") -> str:
    """The API key in ``HOME/keys`` (mode 0600). At first start it is created: ``given``, or a random one.

    Raises Conflict if the file belongs to another user.
    """
    path = key_file(home, name)
    stored = _stored_key(path)
    if not stored:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A file without a key, as a full disk may leave it, is replaced; one that another process wrote meanwhile is not.
        write_private(path, (given or f"fx_{secrets.token_urlsafe(32)}").encode(), replace=stored is not None)
    own_file(path)
    return path.read_text().strip()


def _stored_key(path: Path) -> str | None:
    """The content of the file; None without one."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return None
