"""`POST /operator/import/{kind}`: history from other systems, one JSON object a line."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from lakehouse.imports import Kind
from schemas.api.imports import ImportReport
from serve.gateway.auth import Operator
from serve.gateway.dependencies import Services, services

router = APIRouter(prefix="/operator", tags=["operator"])

_Account = Annotated[
    str, Query(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$", description="Account that gets the rows.")
]


@router.post("/import/{kind}")
async def import_history(
    kind: Kind,
    request: Request,
    _: Operator,
    s: Annotated[Services, Depends(services)],
    account: _Account,
    first_line: Annotated[int, Query(ge=1, description="Number of the body's first line in its file.")] = 1,
) -> ImportReport:
    """Body: lines in the shapes of `/history`.

    Invalid lines are reported, and the others are imported. Importing a line again changes nothing.
    """
    return await s.history_import.run(kind, account, request.stream(), first_line)
