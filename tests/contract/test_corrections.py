"""Corrections of one transcript by two gateways over one ledger and store, as replicas of an instance are."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx
import pytest

from lakehouse.storage.objects import Objects
from lakehouse.storage.result_objects import lease_key, put_result
from lakehouse.storage.signed_urls import home_secret
from serve.gateway.dependencies import Services
from serve.gateway.fastapi_app import create_app
from tests.contract.gateway import Running
from tests.support.lakehouse_kit import new_job, outcome, transcript

pytestmark = pytest.mark.contract


def another(gateway: Running) -> Running:
    """A second gateway, with services of its own."""
    s = gateway.services
    services = Services.build(
        settings=s.settings,
        ledger=gateway.ledger,
        objects=Objects.of(s.settings),
        secret=home_secret(s.settings.home),
        engines=s.engines,
        engine_revision=s.engine_revision,
    )
    return replace(gateway, app=create_app(services), services=services)


async def test_of_changes_of_one_revision_one_is_made_and_every_gateway_shows_it(gateway: Running) -> None:
    await gateway.ledger.jobs.create(new_job("interview", account="default"))
    claim = await gateway.ledger.jobs.claim("w", 5)
    assert claim is not None
    key, said = lease_key(claim.job, claim.lease), transcript("Good morning, dentists.")
    await put_result(gateway.services.objects, key, said)
    done = outcome(claim.job, result_key=key, playback_key=None)
    await gateway.ledger.jobs.complete(claim.job.id, claim.lease, done, said)
    path = f"/transcriptions/{claim.job.id}/corrections"

    async def named(client: httpx.AsyncClient, revision: int, name: str) -> int:
        change = {"revision": revision, "speakers": {"0": name}}
        return (await client.patch(path, json=change)).status_code

    async with gateway.client() as here, another(gateway).client() as there:
        for revision in range(3):
            made = await asyncio.gather(
                *(named(one, revision, f"{revision}-{n}") for n, one in enumerate((here, there) * 4))
            )
            assert sorted(made) == [200] + [409] * 7
        shown = [(await one.get(path)).json() for one in (here, there)]
    assert shown[0] == shown[1]
    assert shown[0]["revision"] == 3
    assert shown[0]["speakers"]["0"].startswith("2-")
