"""`GET /v1/usage`: hours, characters, sessions and cost of an account, by day."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from pydantic import BeforeValidator

from schemas.api.usage import UsageBody
from schemas.errors import InvalidParameter
from serve.gateway.auth import User
from serve.gateway.dependencies import Services, services

_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d")

router = APIRouter(prefix="/v1", tags=["history"])

_MOST_DAYS: Final = 366
_DEFAULT_DAYS: Final = 30


def _iso_day(value: object) -> object:
    """Parses a day. A number is refused, because it could mean seconds since 1970."""
    if isinstance(value, str) and not _ISO_DAY.fullmatch(value):
        raise ValueError("send a day as 2026-06-29")
    return value


@router.get("/usage")
async def usage(
    user: User,
    s: Annotated[Services, Depends(services)],
    since: Annotated[
        dt.date | None,
        BeforeValidator(_iso_day),
        Query(description="First day, in UTC; 29 days before the last if absent."),
    ] = None,
    until: Annotated[
        dt.date | None, BeforeValidator(_iso_day), Query(description="Last day, in UTC; today if absent.")
    ] = None,
) -> UsageBody:
    """Usage of this account on each of these days, and the waiting times of its jobs."""
    last = until or dt.datetime.now(dt.UTC).date()
    first = since or last - dt.timedelta(_DEFAULT_DAYS - 1)
    if first > last:
        raise InvalidParameter(f"since: {first} is after the last day, {last}", param="since")
    if (last - first).days >= _MOST_DAYS:
        raise InvalidParameter(f"since: at most {_MOST_DAYS} days can be requested at once", param="since")
    return await s.usage.by_day(user.account, first, last)
