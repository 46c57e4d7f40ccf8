"""The environment of an instance's processes: our settings, its own ports and sockets, no telemetry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from runtime.children import module_env
from schemas.settings import Settings
from serve.supervisor.instance import MARKER, Instance
from serve.supervisor.metrics_endpoint import metrics_folder

RAY_TUNING: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
    "RAY_worker_niceness": "0",  # see runtime.priority
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # Ray's control store keeps the history of up to 100,000 calls, 3.5 kB each, which nothing here reads.
    "RAY_task_events_report_interval_ms": "0",
    # Larger arguments go through shared memory, which takes 3 ms of CPU each. With Ray's default limit, 100 kB, that
    # includes most utterances.
    "RAY_max_direct_call_object_size": "2097152",
    # Ray's control loops took 19 % of a core on an idle instance with its defaults, and 13 % with these.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "10000",
    # How often the replicas of an engine whose number varies report how long requests wait; Ray's default is 10 s.
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "2",
}
"""Ray's settings that do not depend on the instance. A Ray cluster that others start should have them too."""


def environment(settings: Settings, instance: Instance) -> dict[str, str]:
    """The environment that every child process of ``instance`` inherits."""
    ports, home, temp = instance.ports, Path(instance.home), instance.ray_temp
    found = {
        **module_env(),
        # OpenBLAS's threads wait for each other in busy loops. On a busy machine, small matrix products took fifty times
        # as long with two threads as with one.
        "OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", "1"),
        MARKER: instance.marker,
        "PROMETHEUS_MULTIPROC_DIR": str(metrics_folder(home)),
        "FLUXIONS_HOME": str(home),
        "FLUXIONS_HOST": settings.server.host,
        "FLUXIONS_PORT": str(settings.server.port),
        "FLUXIONS_PROFILE": settings.engines.profile,
        "RAY_TMPDIR": temp,
        "RAY_ADDRESS": instance.ray_address,
        "RAY_ROTATION_MAX_BYTES": str(settings.server.log_mib * 1024 * 1024),
        "RAY_ROTATION_BACKUP_COUNT": str(settings.server.logs_kept),
        **RAY_TUNING,
        "RAY_SERVE_HAPROXY_BINARY_PATH": f"{temp}/haproxy/haproxy",
        # Replicas accept X-Forwarded-For from these peers only.
        "FORWARDED_ALLOW_IPS": ",".join(("127.0.0.1", *settings.server.proxies)),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{temp}/haproxy/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{temp}/haproxy/admin.sock",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{temp}/haproxy/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": f"{temp}/haproxy",
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{temp}/haproxy/server-state",
        # By default all instances of a machine share these two ports.
        "AUTOSCALER_METRIC_PORT": str(ports["autoscaler_metrics"]),
        "DASHBOARD_METRIC_PORT": str(ports["dashboard_metrics"]),
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
    if instance.external:  # An external Ray has its own environment, and ours must agree with it.
        theirs = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
        ours = {name: value for name, value in found.items() if not name.startswith("RAY_")}
        return {**ours, **theirs, "RAY_ADDRESS": instance.ray_address}
    found |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(home / "keys" / "ray")}
    if instance.in_cluster:
        return found | _between_machines(instance)
    # With this variable, which works on Linux too, Ray keeps 127.0.0.1 as the node's address. Otherwise Ray replaces that
    # address by one that other machines reach, and listens there or on all interfaces.
    return found | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def _between_machines(instance: Instance) -> dict[str, str]:
    """Encryption between machines, and the time after which a machine that does not answer counts as dead."""
    tls = instance.tls_folder
    return {
        "FLUXIONS_NODE_ADDRESS": instance.address,
        "RAY_USE_TLS": "1",
        "RAY_TLS_CA_CERT": str(tls / "ca.pem"),
        "RAY_TLS_SERVER_CERT": str(tls / "node.pem"),
        "RAY_TLS_SERVER_KEY": str(tls / "node.key"),
        "PREFECT_API_SSL_CERT_FILE": str(tls / "ca.pem"),
        # Three checks of 2 s, 1 s apart: 9 s. With Ray's defaults it would take up to a minute.
        "RAY_health_check_initial_delay_ms": "5000",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "2000",
        "RAY_health_check_failure_threshold": "3",
        # A machine that cannot reach the head ends its processes, so that a ledger on it does not keep its lease.
        "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
    }


def prefect_database(settings: Settings) -> dict[str, str]:
    """Variables for Prefect's server only: its database, if it is not SQLite."""
    url = settings.cluster.prefect_database_url.get_secret_value()
    return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": url} if url else {}


def prefect_environment(instance: Instance, key: str) -> dict[str, str]:
    """Further variables for Prefect's server and its clients only: the credentials of Prefect's API."""
    return {
        "PREFECT_SERVER_API_AUTH_STRING": key,
        "PREFECT_API_AUTH_STRING": key,
        # Only its own address is an allowed origin. There is no user interface, so no web page has this origin.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": instance.prefect_api.removesuffix("/api"),
    }
