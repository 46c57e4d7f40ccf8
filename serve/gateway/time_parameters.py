"""Times in queries."""

from __future__ import annotations

import datetime as dt
from typing import Any

from fastapi import Query

from schemas import times
from schemas.errors import InvalidParameter

_TIME = r"^([0-9]{1,10}|[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3])(:[0-5][0-9]){2}Z)$"


def time_parameter(description: str) -> Any:
    """A time in a query.

    The pattern in the OpenAPI document has the forms that all clients can send; other forms of ISO-8601 are accepted too.
    """
    return Query(description=description, json_schema_extra={"pattern": _TIME})


def moment(name: str, value: str | None) -> dt.datetime | None:
    """The moment of the parameter ``name``. Raises InvalidParameter."""
    if value is None:
        return None
    try:
        return times.parse(value.strip())
    except (ValueError, OverflowError) as error:
        why = f": {error}" if "milliseconds" in str(error) else ""
        raise InvalidParameter(
            f"{name}: {value[:60]!r} is no time{why}; give ISO-8601, as 2026-06-29T10:40:00Z, or seconds since 1970",
            param=name,
        ) from error
