"""Time as this platform writes it: UTC, ISO-8601 with milliseconds and ``Z``."""

from __future__ import annotations

import datetime as dt


def now() -> dt.datetime:
    """The current time, UTC, cut to milliseconds so that what is stored equals what is shown."""
    moment = dt.datetime.now(dt.UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def iso(moment: dt.datetime) -> str:
    """``2026-06-29T10:40:00.000Z``."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
