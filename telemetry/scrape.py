"""The answer to a scrape: the sums over all processes of an instance, and gauges that are requested at the scrape."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from threading import BoundedSemaphore, Thread
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from telemetry.metrics import PREFIX, RESTARTS, SCRAPED

__all__ = ["Gauges", "InstanceMetrics", "make_wsgi_app", "serve_metrics"]

_CONNECTIONS: Final = 16
"""Most connections at once; each needs a thread and a file of the supervisor. More are closed unanswered."""
_SILENT_SECS: Final = 10.0

Gauges = dict[str, dict[tuple[tuple[str, str], ...], float]]
"""Values by labels, by a name of `SCRAPED`."""


class InstanceMetrics(Collector):
    """Sums over the files of ``folder``, the restarts that this process counted, and the gauges that ``ask`` returns.

    ``ask`` raises nothing. Files of ended processes are kept, so that totals do not decrease.
    """

    def __init__(self, folder: Path, ask: Callable[[], Gauges]) -> None:
        self._folder = folder
        self._ask = ask

    def collect(self) -> Iterator[Metric]:
        """Families of metrics, unordered."""
        for family in _summed(self._folder):
            if family.name.startswith(PREFIX):
                yield family
        yield from RESTARTS.collect()
        for name, values in self._ask().items():
            family = GaugeMetricFamily(name, SCRAPED[name])
            for labels, value in values.items():
                family.add_sample(name, dict(labels), value)
            yield family


def _summed(folder: Path) -> Iterable[Metric]:
    files = [str(path) for path in sorted(folder.glob("*.db"))]
    merged: Iterable[Metric] = MultiProcessCollector.merge(files, accumulate=True)  # type: ignore[no-untyped-call]
    return merged


def serve_metrics(host: str, port: int, metrics: InstanceMetrics) -> WSGIServer:
    """Answer scrapes on ``http://HOST:PORT/metrics`` in a thread, until ``shutdown`` of the server. Raises OSError."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    server = make_server(host, port, make_wsgi_app(registry), _ServerV6 if ":" in host else _Server, _Handler)
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, a bounded number of them."""

    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        self._room = BoundedSemaphore(_CONNECTIONS)
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that leave, or that send nothing for `_SILENT_SECS`."""


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _SILENT_SECS

    def log_message(self, format: str, *args: Any) -> None:
        """Log no request."""
