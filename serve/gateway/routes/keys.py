"""`/operator/keys`: manages API keys, with scope `admin`. `POST /v1/tokens`: creates short-lived tokens."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Depends

from schemas.api import administration as admin
from schemas.scopes import check_scopes
from schemas.times import iso
from serve.gateway.auth import Admin, User
from serve.gateway.dependencies import Services, services

router = APIRouter(tags=["keys"])

_Services = Annotated[Services, Depends(services)]


@router.post("/operator/keys")
async def create_key(body: admin.NewKeyRequest, _: Admin, s: _Services) -> admin.CreatedKey:
    """Create a key. Only this response contains it; only its hash is stored."""
    check_scopes(body.scopes)
    ends_at = None
    if body.expires_in_secs is not None:
        ends_at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=body.expires_in_secs)
    key, plain = await s.ledger.keys.create(body.account, body.name, tuple(body.scopes), expires_at=ends_at)
    return admin.CreatedKey(**dict(admin.KeyBody.of(key)), key=plain)


@router.get("/operator/keys")
async def list_keys(_: Admin, s: _Services) -> admin.KeyList:
    """All keys, including revoked ones, without their secrets."""
    return admin.KeyList(keys=[admin.KeyBody.of(key) for key in await s.ledger.keys.all()])


@router.delete("/operator/keys/{key_id}")
async def revoke_key(key_id: str, _: Admin, s: _Services) -> admin.KeyBody:
    """Revoke a key; gateways refuse it within FLUXIONS_KEY_CACHE_SECS."""
    return admin.KeyBody.of(await s.ledger.keys.revoke(key_id))


@router.post("/operator/keys/{key_id}/rotate")
async def rotate_key(key_id: str, body: admin.RotateRequest, _: Admin, s: _Services) -> admin.CreatedKey:
    """A new key with the same account, name and scopes; the old key works for another `grace_secs`."""
    key, plain = await s.ledger.keys.rotate(key_id, body.grace_secs)
    return admin.CreatedKey(**dict(admin.KeyBody.of(key)), key=plain)


@router.get("/v1/account")
async def account(user: User) -> admin.AccountBody:
    """The account and the scopes of this key or token."""
    return admin.AccountBody(account=user.account, scopes=sorted(user.scopes), is_key=user.is_key)


@router.post("/v1/tokens")
async def make_token(body: admin.TokenRequest, user: User, s: _Services) -> admin.TokenBody:
    """A token with some of this key's scopes, for browsers and WebSockets. The token is sent like a key."""
    check_scopes(body.scopes)
    token, scopes, ends_at = s.keys.issue_token(user, body.scopes, body.seconds)
    return admin.TokenBody(token=token, scopes=scopes, expires_at=iso(ends_at))
