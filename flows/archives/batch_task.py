"""One batch of an archive as a Prefect task that runs in a Dask worker.

The flow imports this module to submit the task. It imports audio and PyTorch only when the task runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextvars import Context

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from flows.archives.batch_spec import BatchSpec
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
async def work_batch(number: int, run: str, spec: str) -> None:
    """Work on one batch. Ends early, without an error, when the run is stopped or was cancelled."""
    from flows.archives.worker_context import export_prefect_url, stopped

    export_prefect_url()
    # A long file starts a flow run of its own; with an empty context Prefect does not count it as part of this task.
    work = asyncio.create_task(_work(BatchSpec.loads(spec)), context=Context())
    stop = asyncio.create_task(stopped(run))
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in (work, stop):
            one.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work


async def _work(spec: BatchSpec) -> None:
    from flows.archives.batch import Batch
    from flows.archives.worker_context import pipeline_context
    from runtime.scratch import ARCHIVE, scratch_folder

    settings = Settings()
    try:
        with scratch_folder(settings.scratch, ARCHIVE) as folder:
            async with pipeline_context(settings, spec.accounts) as (context, client):
                await Batch(spec, context, client, settings, folder).run()
    except* Conflict as group:
        logger.info("archive %d: the run has ended, %s", spec.archive_id, group.exceptions[0])
