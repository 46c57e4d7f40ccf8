"""One batch of an archive as a Prefect task, in a Dask worker. In a module of its own, so that workers can import it.

The flow, which only submits it, does without what the work itself needs: audio, PyTorch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextvars import Context

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from flows.archive_order import Order
from schemas.errors import Conflict
from schemas.settings import Settings

logger = logging.getLogger(__name__)


@task(
    name="archive batch",
    task_run_name="batch {number}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=5),
    retry_jitter_factor=0.5,
)
async def work_batch(number: int, run: str, order: str) -> None:
    """One batch, in a Dask worker; ends early, without an error, when the run is stopped or was cancelled."""
    from flows.archive_worker import know_prefect, stopped

    know_prefect()
    # The flow of a long file inside is a run of its own, not a part of this task: it gets an empty context.
    work = asyncio.create_task(_work(Order.loads(order)), context=Context())
    stop = asyncio.create_task(stopped(run))
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in (work, stop):
            one.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work


async def _work(order: Order) -> None:
    from flows.archive_batch import Batch
    from flows.archive_worker import scratch, tools

    settings = Settings()
    try:
        with scratch(settings) as folder:
            async with tools(settings, order.accounts) as (kit, client):
                await Batch(order, kit, client, settings, folder).run()
    except* Conflict as group:
        logger.info("archive %d: the run has ended, %s", order.archive_id, group.exceptions[0])
