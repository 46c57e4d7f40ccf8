"""Archives as a Prefect flow on Dask: batches of files as tasks, the state of every file in the ledger.

The parent reads the source as a stream and keeps a few batches a Dask worker under way. A worker that dies has its batch
run again elsewhere; a flow that dies is started again and finds in the ledger what is left. Prefect keeps the record, the
report and the schedule.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled

from flows import archive_record
from flows.archive_cluster import task_runner
from flows.archive_connecting import connect
from flows.archive_order import new_archive
from flows.archive_parent import Run
from schemas.archives import ArchiveStatus
from schemas.domain import JobOptions, SpeakerHint
from schemas.settings import Settings


@flow(name="archive", flow_run_name="archive of {source}", task_runner=task_runner(), persist_result=False)
async def archive(
    source: str,
    account: str = "default",
    name: str = "",
    reprocess: bool = False,
    include_current: bool = False,
    non_speech: bool = False,
    min_speakers: int = 1,
    max_speakers: int | None = None,
    retry_failed: bool = False,
) -> dict[str, Any] | State[Any]:
    """Transcribe all recordings of a source, or those that are left of an earlier run with the same parameters.

    Args:
        source: A folder, a glob, s3://bucket/prefix, or a CSV or Parquet manifest, as the workers see it; with
            reprocess an SQL condition over the table transcriptions, such as "where created_at < '2026-01-01'".
        account: Account that owns the transcriptions, where a manifest names no other. With reprocess, the condition
            says whose are taken.
        name: What the run is called in lists; default its source.
        reprocess: Give transcriptions in history a new revision instead of reading new files.
        include_current: With reprocess, also do again what the present engines made.
        non_speech: Include pauses, hesitations and other sounds.
        min_speakers: Speakers there are at least.
        max_speakers: Speakers there are at most; empty for no bound.
        retry_failed: Try again files that failed before; else they stay as they are.
    """
    options = JobOptions(non_speech, SpeakerHint(min_speakers, max_speakers))
    new = new_archive(source, account, name, options, reprocess=reprocess, include_current=include_current)
    settings = Settings()
    client = connect(settings)
    try:
        found = await client.open_archive(new)
        await archive_record.claim(found.id)
        run = Run(client, settings, found, retry_failed)
        await run.to_the_end()
        report = await archive_record.publish(client, found.id)
        if report["status"] == ArchiveStatus.CANCELLED:
            return Cancelled(message=f"archive {found.id} was cancelled", data=report)
        return report
    finally:
        await client.close()
