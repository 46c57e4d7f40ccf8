"""Time as this platform writes it: UTC, ISO-8601 with milliseconds and ``Z``."""

from __future__ import annotations

import datetime as dt
import re


def now() -> dt.datetime:
    """The current time, UTC, cut to milliseconds so that what is stored equals what is shown."""
    moment = dt.datetime.now(dt.UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def iso(moment: dt.datetime) -> str:
    """``2026-06-29T10:40:00.000Z``."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


_EARLIEST, _LATEST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, tzinfo=dt.UTC)


_MILLISECONDS_FROM = 1e11
"""As seconds these are beyond the year 5000; as milliseconds they are from 1973 on."""


def parse(text: str) -> dt.datetime:
    """A moment given as ISO-8601 (UTC where no offset is given) or as seconds since 1970. Raises ValueError.

    A blank before an offset counts as ``+``, because an unescaped query string turns ``+`` into a blank. ``t`` and ``z``
    may be lower-case (RFC 3339, section 5.6), and an offset may be hours alone.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text) and not re.fullmatch(r"\d{8}", text):
        seconds = float(text)
        if seconds >= _MILLISECONDS_FROM:
            raise ValueError(f"these are milliseconds; give seconds since 1970, {seconds / 1000:.3f}")
        return dt.datetime.fromtimestamp(seconds, dt.UTC)
    moment = dt.datetime.fromisoformat(re.sub(r"(:\d\d(?:\.\d+)?) (\d\d(?::?\d\d)?)$", r"\1+\2", text).upper())
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    if not _EARLIEST <= moment <= _LATEST:
        raise ValueError("a time before 1970 or beyond the year 9999")
    return moment.astimezone(dt.UTC)
