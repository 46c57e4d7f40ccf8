"""`/operator/accounts`: deletes an account, with scope `admin`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from schemas.api.deletions import DeletedAccount
from serve.gateway.auth import Admin
from serve.gateway.dependencies import Services, services

router = APIRouter(prefix="/operator/accounts", tags=["keys"])


@router.delete("/{account}")
async def delete_account(
    account: Annotated[str, Path(min_length=1, max_length=200, description="Name of the account.")],
    _: Admin,
    s: Annotated[Services, Depends(services)],
) -> DeletedAccount:
    """Delete an account and everything that belongs to it, permanently, and revoke its keys.

    For two hours nothing can be written for the account. The next vacuum removes its rows from older versions of the
    tables.
    """
    await s.ledger.deletions.account(account)
    return DeletedAccount(id=account)
