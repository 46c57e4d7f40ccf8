"""The form of log lines, as text or as JSON, and the id of the request that a line belongs to."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, Literal, TextIO, TypeAlias

LogForm: TypeAlias = Literal["text", "json"]

request_id: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""Id of the request that is being answered, or of the job that is being processed; otherwise empty."""

_OURS: Final = ("serve", "flows", "lakehouse", "audio", "clients", "runtime", "fluxions")
"""Loggers with level INFO. All others have WARNING, because some libraries log addresses and texts at lower levels."""


class _AddRequestId(logging.Filter):
    def __init__(self, ask: Callable[[], str]) -> None:
        super().__init__()
        self._ask = ask

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = self._ask()
        return True


class TextLines(logging.Formatter):
    """``time logger [request id] message``, without the brackets outside of requests."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(name)s %(request)s%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """One line, followed by the lines of a traceback, if there is one."""
        found = getattr(record, "request_id", "")
        record.request = f"[{found}] " if found else ""
        return super().format(record)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, process, and, if present, request_id and exception."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback is in ``exception``."""
        line: dict[str, str | int] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process or 0,
        }
        if found := getattr(record, "request_id", ""):
            line["request_id"] = found
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(form: LogForm, stream: TextIO | None = None, ask: Callable[[], str] = request_id.get) -> None:
    """Write log lines of this process to ``stream``, by default standard output; ``ask`` gives the id of the request."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    handler.addFilter(_AddRequestId(ask))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.INFO)


@contextmanager
def within_request(name: str) -> Iterator[None]:
    """Within the block, log lines of this task and of tasks that it starts belong to the request ``name``."""
    token = request_id.set(name)
    try:
        yield
    finally:
        request_id.reset(token)
