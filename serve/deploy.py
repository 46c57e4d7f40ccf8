"""``python -m serve.deploy [--anew]``: deploys the application on Ray and watches it; started by the supervisor.

A running ledger is kept, unless ``--anew`` is given. With ``--anew`` the ledger is replaced before the engines and the
gateway. So old gateways may call a new ledger, but no new gateway calls an old ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time

import ray
from ray import serve
from ray.serve.schema import LoggingConfig, TracingConfig

from lakehouse.storage.signed_urls import home_secret
from runtime.children import ROOT
from schemas.errors import Unavailable
from schemas.settings import Settings
from serve import app
from serve.built_in_keys import ensure_keys
from serve.ledger_actor import NAMESPACE, close_ledger
from serve.ledger_watch import LOOK_EVERY_SECS, LedgerWatch
from serve.supervisor.deployments import ANEW, record_deployment
from serve.supervisor.port_owners import check_own_port
from telemetry import traces
from telemetry.log_lines import configure

_CLUSTER_SECS = 60.0
_WATCH_SECS = 10.0

logger = logging.getLogger("fluxions.deploy")


def connect(*, external: bool = False) -> None:
    """Connect to this instance's Ray cluster, or to an ``external`` one.

    Raises Unavailable if the cluster is not up within a minute, Conflict if another user's process has its port: it would
    get Ray's token.
    """
    deadline, address = time.monotonic() + _CLUSTER_SECS, os.environ["RAY_ADDRESS"]
    while True:
        if not external:
            check_own_port(int(address.rpartition(":")[2]))
        try:
            # Ray has its workers find modules in the present folder, where others may have put some.
            with contextlib.chdir(ROOT):
                ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
        except ConnectionError as error:
            if time.monotonic() > deadline:
                raise Unavailable(f"no Ray cluster at {address} after {_CLUSTER_SECS:.0f} s") from error
            time.sleep(0.2)
        else:
            return


def report(last: str) -> str:
    """Log the application's status if it differs from ``last``, and return the status."""
    status = serve.status().applications.get(app.APPLICATION)
    text = "absent"
    if status is not None:
        parts = [f"{name}: {d.status.value} {d.message}".strip() for name, d in status.deployments.items()]
        text = f"{status.status.value} {status.message} | " + "; ".join(parts)
    if text != last:
        logger.info("%s", text)
    return text


def _tracing(settings: Settings) -> TracingConfig:
    return TracingConfig(
        enabled=traces.is_on(),
        exporter_import_path=traces.SPAN_PROCESSORS,
        sampling_ratio=settings.server.traces_share,
    )


def main() -> None:
    """Deploy the application, then watch it until SIGINT or SIGTERM. Raises Unavailable when it disappears from Serve."""
    stopped = threading.Event()
    settings = Settings()
    configure(settings.server.log_format)
    connect(external=bool(settings.cluster.ray_address))
    # Without this handler Ray, once connected, would end this process by abort().
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    if ANEW in sys.argv:
        app.end_ledger()
    app.start_ledger(settings)
    asyncio.run(ensure_keys(settings))
    lines = LoggingConfig(encoding=settings.server.log_format.upper())
    # In a cluster replicas listen on loopback alone; the HAProxy of each machine listens where its settings say.
    host = "127.0.0.1" if settings.cluster.node_address else settings.server.host
    serve.start(
        http_options={"host": host, "port": settings.server.port, "keep_alive_timeout_s": 75},
        logging_config=lines,
        tracing_config=_tracing(settings),
    )
    application = app.build(settings, home_secret(settings.home), app.cluster_gpus())
    serve.run(application, name=app.APPLICATION, route_prefix="/", blocking=False, logging_config=lines)
    record_deployment(settings.home)
    last, next_report, watch = "", 0.0, LedgerWatch()
    watched = settings.cluster.has_other_machines
    while not stopped.wait(LOOK_EVERY_SECS if watched else _WATCH_SECS):
        if watched:
            watch.look()
        if time.monotonic() >= next_report:
            last, next_report = report(last), time.monotonic() + _WATCH_SECS
        if last == "absent":
            raise Unavailable("the application is gone from Serve; starting it again")
    if settings.cluster.ray_address:
        _withdraw()


def _withdraw() -> None:
    """Remove the application and the ledger from an external Ray cluster, which continues to run."""
    serve.delete(app.APPLICATION)
    asyncio.run(close_ledger())


if __name__ == "__main__":
    main()
