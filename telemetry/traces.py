"""Traces by OpenTelemetry, with the extra ``tracing``: our own spans, and a filter for the attributes of all spans.

Ray Serve makes a span for each call of a replica and passes the context on with its handles; this module gives it the
exporter. Nothing is imported and no span is made unless ``FLUXIONS_TRACES_URL`` is set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

URL_VARIABLE: Final = "FLUXIONS_TRACES_URL"
SPAN_PROCESSORS: Final = "telemetry.traces:span_processors"
"""Import path for Ray Serve."""

ATTRIBUTES: Final = frozenset(
    {
        *("fluxions.job", "fluxions.attempt", "fluxions.part", "fluxions.block", "fluxions.stage", "fluxions.code"),
        *("request_id", "deployment", "app", "call_method", "is_streaming", "http.method", "http.status_code"),
    }
)
"""Names of attributes that may leave the process. Their values contain no path, no file name and no words of users."""
_VALUE: Final = re.compile(r"[\w.:-]{0,64}")
_NAME: Final = re.compile(r"[\w .:-]{1,100}")


class _Headers(Protocol):
    def __setitem__(self, name: str, value: str, /) -> None: ...


def is_on() -> bool:
    """Whether spans are made."""
    return bool(os.environ.get(URL_VARIABLE))


def span_processors() -> list[SpanProcessor]:
    """The span processors of our and Ray Serve's processes: they filter spans and send them.

    Raises KeyError if traces are off.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class FilteringExporter(SpanExporter):
        """An exporter that removes attributes which may not leave the process."""

        def __init__(self, exporter: SpanExporter) -> None:
            self._exporter = exporter

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return self._exporter.export([filtered(span) for span in spans])

        def shutdown(self) -> None:
            self._exporter.shutdown()

    return [BatchSpanProcessor(FilteringExporter(OTLPSpanExporter(endpoint=os.environ[URL_VARIABLE])))]


def filtered(span: ReadableSpan) -> ReadableSpan:
    """A copy with only the attributes of `ATTRIBUTES`, without events, links and error descriptions."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Status

    return ReadableSpan(
        name=span.name if _NAME.fullmatch(span.name) else "span",
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={
            name: value
            for name, value in (span.attributes or {}).items()
            if name in ATTRIBUTES and (not isinstance(value, str) or _VALUE.fullmatch(value))
        },
        kind=span.kind,
        instrumentation_scope=span.instrumentation_scope,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
    )


def configure(share: float, service: str) -> None:
    """Make spans in this process, for ``share`` of the traces that begin here, if traces are on.

    May be called once in a process.
    """
    if not is_on():
        return
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(share), resource=Resource({"service.name": service}))
    for processor in span_processors():
        provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)


@contextmanager
def span(name: str, **attributes: int | str) -> Iterator[None]:
    """A span around the block, with attributes ``fluxions.<name>``. Of an error, only its code or type is kept."""
    if not is_on():
        yield
        return
    from opentelemetry import trace
    from opentelemetry.trace import StatusCode

    tracer = trace.get_tracer("fluxions")
    named = {f"fluxions.{key}": value for key, value in attributes.items()}
    with tracer.start_as_current_span(
        name, attributes=named, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield
        except BaseException as error:
            current.set_status(StatusCode.ERROR)
            current.set_attribute("fluxions.code", str(getattr(error, "code", type(error).__name__)))
            raise


def pass_on(headers: _Headers) -> None:
    """Add ``traceparent`` (W3C Trace Context) of the current span to ``headers``, if there is one."""
    if not is_on():
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    TraceContextTextMapPropagator().inject(headers)
