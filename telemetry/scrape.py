"""The answer to a scrape: the sums over all processes of an instance, and gauges that are requested at the scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from telemetry.metrics import PREFIX, RESTARTS, SCRAPED

__all__ = ["Gauges", "InstanceMetrics", "make_wsgi_app", "serve_metrics"]

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
    server, _ = start_http_server(port, host, registry)
    return server
