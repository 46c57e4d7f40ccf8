"""Archives as a Prefect flow on Dask: batches of files as tasks, the state of every file in the ledger.

The parent reads the source as a stream and keeps a few batches per Dask worker running. The batch of a worker that dies
runs again elsewhere. A flow that dies is started again and finds the unfinished files in the ledger. Prefect stores the
run's state, report and schedule.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled

from clients.connection import connect
from flows.archives import prefect_artifacts
from flows.archives.batch_spec import new_archive
from flows.archives.cluster import task_runner
from flows.archives.coordinator import ArchiveCoordinator
from schemas.archives import ArchiveStatus
from schemas.domain import JobOptions, RecognizeOptions, SpeakerHint, Task
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
    language: str | None = None,
    prompt: str = "",
    keyterms: list[str] | None = None,
    task: Task = "transcribe",
    strict: bool = False,
    audio_track: int | None = None,
    retry_failed: bool = False,
) -> dict[str, Any] | State[Any]:
    """Transcribe all recordings of a source, or the unfinished ones of an earlier run with the same parameters.

    Args:
        source: A folder, a glob, s3://bucket/prefix, or a CSV or Parquet manifest, as the workers see it; with
            reprocess an SQL condition over the table transcriptions, such as "where created_at < '2026-01-01'".
        account: Account that owns the transcriptions, where a manifest names no other. With reprocess, the condition
            selects the accounts.
        name: Name of the run in lists; default its source.
        reprocess: Give transcriptions in history a new revision instead of reading new files.
        include_current: With reprocess, also transcriptions that the present engines made.
        non_speech: Include pauses, hesitations and other sounds.
        min_speakers: Least number of speakers.
        max_speakers: Largest number of speakers; empty for no bound.
        language: Code of the language spoken, such as "en"; empty to detect it.
        prompt: Text in the style and vocabulary of the recordings.
        keyterms: Names and terms that are likely to be said.
        task: "transcribe", or "translate" for an English translation.
        strict: Fail truncated or damaged recordings instead of adding a warning.
        audio_track: Number of the audio track to transcribe, from 0; empty for the one that holds the speech.
        retry_failed: Also try files that failed before.
    """
    recognize = RecognizeOptions(language, prompt, tuple(keyterms or ()), task)
    options = JobOptions(non_speech, SpeakerHint(min_speakers, max_speakers), recognize, strict, audio_track)
    new = new_archive(source, account, name, options, reprocess=reprocess, include_current=include_current)
    settings = Settings()
    client = connect(settings)
    try:
        found = await client.open_archive(new)
        await prefect_artifacts.claim(found.id)
        await ArchiveCoordinator(client, settings, found, retry_failed).run()
        report = await prefect_artifacts.publish(client, found.id)
        if report["status"] == ArchiveStatus.CANCELLED:
            return Cancelled(message=f"archive {found.id} was cancelled", data=report)
        return report
    finally:
        await client.close()
