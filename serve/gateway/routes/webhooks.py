"""`/v1/webhooks`: URLs that events of an account are sent to."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Path, Query

from schemas.api.webhooks import (
    DeletedWebhook,
    DeliveryBody,
    DeliveryList,
    NewWebhook,
    RotateSecret,
    WebhookBody,
    WebhookList,
)
from serve.gateway.auth import User
from serve.gateway.dependencies import Services, services

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

_Services = Annotated[Services, Depends(services)]
_Id = Annotated[str, Path(min_length=1, max_length=100, description="Webhook id.")]


@router.post("", response_model_exclude_none=True)
async def create(body: NewWebhook, user: User, s: _Services) -> WebhookBody:
    """Send events of this account to a URL. Only this response contains the secret."""
    webhook, secret = await s.webhooks.create(user.account, body.url, body.events)
    return WebhookBody.of(webhook, secret)


@router.get("", response_model_exclude_none=True)
async def list_webhooks(user: User, s: _Services) -> WebhookList:
    """This account's webhooks, newest first."""
    return WebhookList(data=[WebhookBody.of(one) for one in await s.ledger.webhooks.of_account(user.account)])


@router.get("/{webhook_id}", response_model_exclude_none=True)
async def get_webhook(webhook_id: _Id, user: User, s: _Services) -> WebhookBody:
    """One webhook."""
    return WebhookBody.of(await s.ledger.webhooks.get(user.account, webhook_id))


@router.delete("/{webhook_id}")
async def delete_webhook(webhook_id: _Id, user: User, s: _Services) -> DeletedWebhook:
    """Stop sending to a webhook; pending events are not sent."""
    return DeletedWebhook(id=(await s.ledger.webhooks.delete(user.account, webhook_id)).id)


@router.post("/{webhook_id}/rotate_secret", response_model_exclude_none=True)
async def rotate_secret(
    webhook_id: _Id, user: User, s: _Services, body: Annotated[RotateSecret | None, Body()] = None
) -> WebhookBody:
    """Make a new secret. A webhook that was disabled is enabled again."""
    keep_old = (body or RotateSecret()).keep_old_secret_active_for_24_hours
    webhook, secret = await s.webhooks.rotate(user.account, webhook_id, keep_old=keep_old)
    return WebhookBody.of(webhook, secret)


@router.post("/{webhook_id}/test", response_model_exclude_none=True)
async def test(webhook_id: _Id, user: User, s: _Services) -> WebhookBody:
    """Send an event of type `webhook.test`."""
    await s.webhooks.test(user.account, webhook_id)
    return WebhookBody.of(await s.ledger.webhooks.get(user.account, webhook_id))


@router.get("/{webhook_id}/deliveries")
async def deliveries(
    webhook_id: _Id,
    user: User,
    s: _Services,
    limit: Annotated[int, Query(ge=1, le=1000, description="Largest number of deliveries, newest first.")] = 50,
) -> DeliveryList:
    """Deliveries of a webhook: status, attempts, response status."""
    found = await s.ledger.webhooks.deliveries(user.account, webhook_id, limit)
    return DeliveryList(data=[DeliveryBody.of(one) for one in found])


@router.post("/{webhook_id}/deliveries/{delivery_id}/replay")
async def replay(
    webhook_id: _Id, delivery_id: Annotated[str, Path(min_length=1, max_length=100)], user: User, s: _Services
) -> DeliveryBody:
    """Send an event again, with the full schedule of attempts."""
    return DeliveryBody.of(await s.ledger.webhooks.replay(user.account, webhook_id, delivery_id))
